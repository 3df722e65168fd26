# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Photographs
#
# :::{answer}
# :::
#
# Ten digits in 784 grey pixels are a toy, and a sceptic might say: of course small networks are brittle. The picture
# that made the paper famous, its Figure 5, shows photographs instead, and a network that had just won the ImageNet
# competition. On the left a school bus, in the middle what looks like grey fog, on the right the same school bus, which
# the network takes for an ostrich. This chapter does it again with networks whose weights are public, and asks what the
# paper did not: would such a picture survive being saved as a file? How sure is the network of its ostrich? Does the
# picture move another network?

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
from IPython.display import HTML, Markdown
from myst_nb import glue

from lib.data import downloads
from lib.experiments import digits, photographs, saving, seeds
from lib.figures import comparisons, curves, wipe
from lib.measures import aftermath
from lib.networks import imagenet
from lib.record import tables
from lib.record.markdown import span, tell

run = digits.begin("imagenet", profile, data, device, seed)
found, missing = downloads.gather(photographs.WANTED, download=profile == "paper")
in_part = imagenet.absent(found["AlexNet"]) if "AlexNet" in found else {}
glue("dataset", "photographs" if found else "no photographs", display=False)
Markdown(run.banner + downloads.banner(found, missing | in_part))

# %% [markdown]
# ## Three networks
#
# The paper attacks the network of {cite:t}`krizhevsky2012imagenet`, whose original weights are not to be had. What is:
#
# - **SqueezeNet 1.1** {cite:p}`iandola2016squeezenet`, whole: as accurate as that network, with a fiftieth of its weights.
#   We judge and attack it on `imagenet-sample`, one photograph for each of ImageNet's 1,000 classes, 224 pixels a side.
#   They are most likely pictures that it was trained on, so that its accuracy here flatters it.
# - **AlexNet's convolutions**, as torchvision trained them, under a last layer of our own. The linear layer is trained on
#   pictures of Tiny ImageNet, 200 of the 1,000 classes at 64 × 64 pixels, which we enlarge to 224 × 224 (bilinear). It is
#   the paper's own recipe for a softmax, full-batch L-BFGS with {term}`weight decay`, on features instead of pixels. The linear
#   layer is judged on pictures that it has not seen; the convolutions below it most likely have, larger.
# - **AlexNet, whole**, where its 240 megabytes are there. Else its name is missing from the tables below.
#
# All of them take pixels in $[0, 1]$ and carry their preprocessing inside (`lib/networks/imagenet.py`), so that the {term}`box` of
# the attack is the box of pictures. The 2012 network itself, with its groups and its contrast normalisation, is there too,
# for its layers' shapes. `lib/experiments/photographs.py` puts together who is attacked: each network, judged, and
# pictures on which it is right.

# %%
scale = run.profile.photographs
under_attack, trained = photographs.subjects(found, scale, run.store, run.device)

# %% mystnb={"markdown_format": "myst"}
accuracy = run.table("imagenet_accuracy", photographs.accuracy(under_attack))
caption = "How often the right class is the first guess, and among the first five."
columns = ["top-1 (%)", "top-5 (%)"]
Markdown(accuracy.show(columns, caption=caption, name="tab-accuracy"))

# %% tags=["remove-cell"]
num_train = accuracy.told[photographs.PROBE, "trained on"]
tell(accuracy_source=accuracy.source, num_train=(num_train, ",.0f"))

# %% [markdown]
# {glue:text}`accuracy_source`, the linear layer was trained on {glue:text}`num_train` pictures of Tiny ImageNet. From here
# on SqueezeNet and the whole AlexNet are attacked on pictures of `imagenet-sample`, AlexNet's features on Tiny ImageNet's.
#
# ## Figure 5
#
# The attack is that of [the digits](formal_attack), to the letter: it looks for the smallest $r$ with $f(x + r) = l$
# and $x + r \in [0, 1]^m$, where $m$ is now $3 \cdot 224 \cdot 224$, by the paper's {term}`relaxation`, which ends a
# little beyond the nearest boundary. As in the paper, only pictures that the network classifies correctly are attacked.
# The {term}`target` class $l$ is chosen in two ways: one class for all pictures, the ostrich (for the network that
# knows no ostrich, the goldfish), and a class drawn at random for each.

# %%
attacked = {
    f"{name}, {goal}": photographs.attack(subject, targets, scale.attack, run.store)
    for name, subject in under_attack.items()
    for goal, targets in subject.goals(seeds.generator(run.seeds.targets)).items()
}

# %% [markdown]
# Move the line in a picture, and look for anything that changes. The buttons show what was added, around grey: as it is, ten
# times larger, as the paper prints it, and fifty times.

# %% mystnb={"figure": {"caption": "Figure 5, with this build's pictures: left of the line the original, which the network classifies correctly, right of it the adversarial picture; below them, what it says of either.", "name": "fig-ostriches"}} tags=["hide-input"]
without = "This build has no photographs to show."
HTML(wipe.element(photographs.pairs(attacked, num=3), without))
# %% [markdown]
# Nothing that was added says "ostrich". (The pictures on this page are compressed; the difference was taken before that.)
#
# How large is it? The paper gives one number, the average {term}`distortion` over 64 pictures. Beside it ours, averaged in two
# ways: as the mean over pictures of each one's root mean square, and as the root mean square over all pixels of all
# pictures, which is what [the digits](formal_attack) suggest the paper averaged.

# %% mystnb={"markdown_format": "myst"}
figure5 = run.table("figure5", photographs.lengths(attacked))
columns = ["distortion", "root mean square", "success (%)"]
caption = "Distortion, averaged in two ways, and how often the target was reached."
Markdown(figure5.show(columns, caption=caption, name="tab-photographs"))

# %% mystnb={"figure": {"caption": "The distortions of the table above with their 95 % intervals, averaged in two ways, and the paper's (dashed).", "name": "fig-photo-distortion"}, "image": {"alt": "Points with intervals on a logarithmic axis, one row for each network and kind of target, and a dashed line for the paper's number."}} tags=["hide-input"]
printed = figure5.printed["AlexNet of 2012", "distortion"]
series = {column: figure5.column(column) for column in columns[:2]}
title = "How much the attack changes a photograph"
comparisons.estimates(series, printed, "distortion (rms over pixels)", title)
# %% tags=["hide-input"]
levels = [aftermath.LEVELS * e.value for e in series["distortion"].values()]
tell(
    figure5_source=figure5.source,
    our_levels=span(levels, ".2f"),
    printed_levels=(aftermath.LEVELS * printed, ".2f"),
)

# %% [markdown]
# {glue:text}`figure5_source`, the mean distortions are {glue:text}`our_levels` of the steps between a picture's 256 levels
# of brightness; the paper's is {glue:text}`printed_levels`. So what the attack does lies mostly *between* the levels. The
# network, its training and the pictures are not the paper's, whose weights nobody has, and any of them may be behind a
# difference. There is another suspect, the search over $c$, to which we come below.
#
# ## Would it survive being saved?
#
# A PNG file loses nothing but what lies between the levels. The attack knows nothing of levels, and stops as soon as the
# target is ahead by a hair; two reasons to fear that rounding undoes it. Both have the same remedy: go farther the same
# way, $x + t\,(x' - x)$ with $t > 1$, clipped to $[0, 1]$.

# %% mystnb={"markdown_format": "myst"}
saved = run.table("photographs_extended", photographs.extended(attacked))
columns = [f"as bytes, times {t} (%)" for t in (1, 2)]
columns += [f"probability, times {t}" for t in (1, 2)]
caption = "How often the target is still said of bytes, its mean probability before."
Markdown(saved.show(columns, caption=caption, name="tab-saved"))

# %% mystnb={"figure": {"caption": "What becomes of the pictures of the table above when their perturbation is extended: how often the network says the target, of the exact picture and of its bytes, and the mean probability of the target.", "name": "fig-extended"}, "image": {"alt": "Panels with three rising curves each: success of exact pictures, of rounded pictures, and the probability of the target, against the factor."}} tags=["hide-input"]
rates, title = aftermath.by_factor(saved.told), "A little farther the same way"
curves.rates_against_factor(aftermath.FACTORS, rates, title, ylabel="target (%)")
# %% [markdown]
# :::{more} What a file costs, why, and how much of it is the search over c
# :::
#
# Going farther is a poor man's answer, for it moves every pixel. On levels a pixel moves by a whole one or not at all, so
# that it pays to move few, those on which the network depends most. With $g$ the gradient of how far the target is ahead, the pixels
# decide independently of each other: each takes the level next to $x + \mu g$, for the least $\mu$ that reaches the target
# (`lib/attacks/levels.py`; the network confirms every picture as it would be saved).

# %% mystnb={"markdown_format": "myst"}
cases = {case: each.problem for case, each in attacked.items()}
on_levels = run.table("photographs_saved", saving.saved(cases, run.store))
caption = (
    "The target said of pictures rounded, and of the nearest that a file can hold."
)
Markdown(on_levels.show(caption=caption, name="tab-levels"))

# %% tags=["hide-input"]
survive, farther = ([*on_levels.column(c).values()] for c in aftermath.SAVED[::2])
tell(
    levels_source=on_levels.source,
    survive=span([e.value for e in survive], ".0f"),
    farther=span([e.value for e in farther], ".0f"),
)

# %% [markdown]
# {glue:text}`levels_source`, the target is still said of {glue:text}`survive` % of the pictures when they are rounded. The
# nearest on the levels is farther than what the attack found by {glue:text}`farther` % on average, case by case: so much does
# a file cost.
#
# At the boundary the probability of the target is at best one half, and less where several classes compete: an
# {term}`adversarial example` of least length is, by its nature, one of least confidence. The curves tell what a little more length buys.

# %%
lengths_of, curves_of = tables.one_voice(figure5, saved)
lengths = lengths_of.column("distortion")
longer = {case: printed / estimate.value for case, estimate in lengths.items()}
tell(
    saved_source=curves_of.source,
    longer=span(longer.values(), ".1f"),
    sure=span(aftermath.at_length(longer, curves_of.told).values(), ".0f"),
)

# %% [markdown]
# {glue:text}`saved_source`, the paper's average distortion is {glue:text}`longer` times ours. With {term}`perturbations <perturbation>` as much
# longer (or four times, where that is less) the target would have a mean probability of {glue:text}`sure` %. A perturbation
# as long as the paper's would lie inside the target's region, if it went the way of ours. Had the paper found the shortest?
# A search that lowers $c$ by a factor of $q$ at a time until it succeeds stops anywhere between the best $c$ and $c / q$,
# and the lower {term}`price <price c>` buys a longer $r$. And have we? The paper's problem, solved well, still ends where length and
# {term}`cross-entropy` balance; the {term}`tight attack` of [the digits](formal_attack) goes on from there to where the boundary is
# nearest, or as near to it as the network's many kinks let it come. Both, with random targets, on some of the pictures:

# %% mystnb={"markdown_format": "myst"}
random = photographs.at_random(attacked)
searched = photographs.searched(random, scale, run.seeds.noise, run.store)
coarse = run.table("photographs_coarse", searched)
columns = ["tight attack", "as found", "q = 10", "q = 100"]
caption = "Mean distortion where each of the four finds a picture; random targets."
Markdown(coarse.show(columns, caption=caption, name="tab-coarse-photographs"))

# %%
lengths_of, ways_of = tables.one_voice(figure5, coarse)
tight = aftermath.ratios(ways_of.told, "tight attack", "as found").values()
longer = [printed / e.value for e in lengths_of.column("distortion").values()]
tell(
    coarse_source=ways_of.source,
    coarser=span(aftermath.ratios(ways_of.told, "q = 100", "as found").values(), ".1f"),
    tighter=span([100 * (1 - ratio) for ratio in tight], ".1f"),
    papers=span(longer, ".1f"),
)

# %% [markdown]
# {glue:text}`coarse_source`, searching by powers of 100 makes perturbations {glue:text}`coarser` times as long, and the
# tight attack makes them {glue:text}`tighter` % shorter. Over all pictures attacked the paper's are {glue:text}`papers`
# times as long as ours, and the lower of two such factors is all that this coarse search can explain.
#
# ## Does it move another network?
#
# For digits the paper's most consequential finding is that what was made for one network moves others
# ([Table 2](cross_model)); for photographs it gives no number. Our networks know different classes, so we count how often
# a picture's class **changes**, whatever it changes to, with random targets. Two {term}`controls <control>` are as long as what they are
# compared with: the perturbation that was made for another picture, and noise in a random direction. Since the pictures
# barely change, each set is also {term}`amplified <amplification>` to one length for all, eight of the 256 levels (clipped to $[0, 1]$, which
# shortens it a little).

# %% mystnb={"markdown_format": "myst"}
moved = photographs.transfers(random, run.seeds.noise)
moves = run.table("photographs_transfer", moved)
caption = "How often a network's first guess changes when the picture does."
Markdown(moves.show(caption=caption, name="tab-photo-transfer", index="made for"))

# %% tags=["hide-input"]
SQUEEZENET, FEATURES = "SqueezeNet 1.1", photographs.PROBE
on_features = photographs.amplified_moves(moves.told, SQUEEZENET, FEATURES)
on_squeezenet = photographs.amplified_moves(moves.told, FEATURES, SQUEEZENET)
tell(
    moves_source=moves.source,
    features_own=(on_features["its own"], ".0f"),
    features_another=(on_features["that of another"], ".0f"),
    features_noise=(on_features["noise"], ".0f"),
    squeezenet_own=(on_squeezenet["its own"], ".0f"),
    squeezenet_another=(on_squeezenet["that of another"], ".0f"),
    squeezenet_noise=(on_squeezenet["noise"], ".0f"),
)

# %% [markdown]
# {glue:text}`moves_source`, what was made for SqueezeNet and amplified moves AlexNet's features on
# {glue:text}`features_own` % of the pictures, the perturbation of another picture on {glue:text}`features_another` %, noise
# on {glue:text}`features_noise` %. What was made for AlexNet's features moves SqueezeNet on {glue:text}`squeezenet_own` %,
# that of another picture on {glue:text}`squeezenet_another` %, noise on {glue:text}`squeezenet_noise` %. Where noise does as
# much as the perturbation of another picture, it is the length that counts.
#
# ## Why noise moves SqueezeNet on one set and not on the other
#
# :::{more} Two answers, measured
# :::
#
# Compare in {numref}`tab-photo-transfer` how often noise of eight levels moves SqueezeNet on its own pictures and on
# those of Tiny ImageNet. Why should it do so more often on the latter? SqueezeNet was trained on photographs; Tiny
# ImageNet's are 64 pixels wide and enlarged, and have no detail as fine as noise. If that is the reason, then
# SqueezeNet's own pictures, brought down to fewer pixels and enlarged again, must do the same. Two things can make a
# first guess easy to move: a small **{term}`lead`** over the second (in {term}`logits`), or that noise **takes** more of it (of the lead
# of the class that came first). So we measure both.

# %% mystnb={"markdown_format": "myst"}
beside_noise = photographs.resolution(under_attack, run.seeds.noise)
resolution = run.table("photographs_resolution", beside_noise)
columns = ["lead", "lost to noise", "moved by noise (%)"]
caption = "SqueezeNet's lead (logits) and noise of eight levels, by detail."
Markdown(resolution.show(columns, caption=caption, name="tab-detail", index="pictures"))

# %%
sets = [photographs.SHARP, photographs.COARSENED[64], photographs.TINY]
lead, lost = resolution.told.grid(sets, columns[:2]).T
sharp, through_64, tiny = 100 * lost / lead
tell(
    resolution_source=resolution.source,
    share_sharp=(sharp, ".0f"),
    share_coarse=(through_64, ".0f"),
    share_tiny=(tiny, ".0f"),
)

# %% [markdown]
# {glue:text}`resolution_source`, the noise takes {glue:text}`share_sharp` % of the mean lead on SqueezeNet's own pictures,
# {glue:text}`share_coarse` % on the same pictures through 64 pixels, and {glue:text}`share_tiny` % on those of Tiny
# ImageNet. These are ratios of two means: where a single picture loses more than 100 % of its lead its first guess falls,
# and how often that happens the table's last column counts. Only the detail differs between the first two sets, so
# that as far as their shares differ it is its work. If the second share is the larger one, the table's first two columns
# tell whether SqueezeNet is less sure of a blurred picture, or noise costs it more there, or both. As far as the
# last two sets differ, it is the pictures. Either way, what was made for AlexNet's features, on pictures without
# detail, is to be compared with noise on the same pictures, and not with what was made for SqueezeNet on others.
#
# ## The claims
#
# How the paper's claims on photographs come out, on what was recorded and on this build's own numbers:

# %% mystnb={"markdown_format": "myst"} tags=["hide-input"]
Markdown(run.verdicts())

# %% [markdown]
# ## Check
#
# :::{more} What this page rests on
# :::
#
# What this page rests on, asserted: every adversarial picture is a picture, does what it should, and its distortion is
# what was said; what was attacked had been classified correctly; and training lowered the loss of the linear layer.

# %%
for case, there in attacked.items():
    network, x = there.subject.network, there.subject.inputs
    x_adv = there.result.adversarial
    rms = (x_adv - x).square().mean(dim=1).sqrt()
    assert there.result.success.all(), case
    assert ((x_adv >= 0) & (x_adv <= 1)).all()
    assert (there.result.distortion - rms).abs().max() < 1e-6
    assert (network(x).argmax(dim=1) == there.subject.labels).all()
    assert (network(x_adv).argmax(dim=1) == there.targets).all()
assert all(fit.losses[-1] < fit.losses[0] for fit in trained.values())

# %% [markdown]
# ## Exercises
#
# **1. What rounding forgives.** A picture made of bytes is changed by less than half a level at every pixel, and saved as bytes.
# What is left of the change? So which part of an adversarial picture survives being saved?
#
# :::{dropdown} Solution 1
# Nothing is left: every pixel goes back to the byte that it came from. What survives are the pixels that changed by half a
# level or more, and these by whole levels.
#
# ```python
# import torch
#
# from lib.attacks import perturbations
#
# x = torch.randint(256, (1000,)) / 255
# change = 0.49 / 255 * (2 * torch.rand(1000) - 1)
# assert torch.equal(perturbations.to_bytes(x + change), x)
# for case, there in attacked.items():
#     change = 255 * (there.result.adversarial - there.subject.inputs).abs()
#     print(f"{case}: {100 * float((change >= 0.5).float().mean()):.1f} % of the values")
# ```
# :::
#
# **2. Twice as far.** Suppose the network is linear between $x$ and where the attack leads, and two classes are alone in the
# race. How sure is it of the target at $x + 2 (x' - x)$, where at $x$ it gave the right class the probability $p$? Compare with
# the probabilities in {numref}`tab-saved`: what is not linear, or who else is in the race?
#
# :::{dropdown} Solution 2
# As sure as it was of the right class, $p$: a lead that is linear along the line and vanishes at $x'$ has at twice the distance
# the opposite of its first value. Where the table has less, other classes have gained as well, or the network bends.
#
# ```python
# for case, there in attacked.items():
#     subject = there.subject
#     before = aftermath.probability(subject.network, subject.inputs, subject.labels)
#     after = saved.now[case, "probability, times 2"].value
#     print(f"{case}: {before.mean():.2f} of the right class, then {after:.2f}")
# ```
# :::
#
# **3. How much noise it takes.** Instead of eight levels use 2, 8, 32 and 128 of noise, clipped to $[0, 1]$. From which on do
# the networks change their minds about most of their pictures?
#
# :::{dropdown} Solution 3
# Each doubling of the noise doubles what it does to a lead, as long as the network is linear; a picture falls when this
# exceeds its lead. The answer depends on the network and on the detail in its pictures, as the last section found.
#
# ```python
# from lib.attacks import perturbations
#
# for name, subject in under_attack.items():
#     noise = perturbations.gaussian_noise(subject.inputs, 1, seeds.generator(seed))
#     for levels in (2, 8, 32, 128):
#         noisy = subject.inputs + levels / 255 * (noise - subject.inputs)
#         moved = aftermath.moved(subject.network, subject.inputs, noisy.clamp(0, 1))
#         print(f"{name}, {levels} levels: {moved.value:.0f} % moved")
# ```
# :::

# %% tags=["remove-cell"]
run.facts("photographs.json", photographs.provenance(under_attack))
run.finish()
