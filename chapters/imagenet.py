# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Photographs
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
import json

import numpy as np
import torch
from IPython.display import Markdown

from lib.attacks import perturbations
from lib.data import downloads
from lib.experiments import digits, photographs, seeds
from lib.figures import comparisons, curves, grids
from lib.measures import effects, intervals
from lib.networks import imagenet, linear_probe
from lib.record import claims, markdown, tables
from lib.store import identity

run = digits.begin("imagenet", profile, data, device, seed)
scale = photographs.SCALES[profile]
found, missing = downloads.gather(photographs.WANTED, download=profile == "paper")
partial = imagenet.absent(found["AlexNet"]) if "AlexNet" in found else {}
Markdown(downloads.banner(found, missing | partial))

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
#   the paper's own recipe for a softmax, full-batch L-BFGS with weight decay, on features instead of pixels. The linear
#   layer is judged on pictures that it has not seen; the convolutions below it most likely have, larger.
# - **AlexNet, whole**, where its 240 megabytes are there. Else its name is missing from the tables below.
#
# All of them take pixels in $[0, 1]$ and carry their preprocessing inside (`lib/networks/imagenet.py`), so that the box of
# the attack is the box of pictures. The 2012 network itself, with its groups and its contrast normalisation, is there too,
# for its layers' shapes. `lib/experiments/photographs.py` puts together who is attacked: each network, judged, and pictures on which it
# is right.

# %%
under_attack, trained = photographs.subjects(found, scale, run.store, run.device)
accuracy = {
    (name, column): estimate
    for name, subject in under_attack.items()
    for column, estimate in {"top-1 (%)": subject.top1, "top-5 (%)": subject.top5}.items()
}

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    tables.record("imagenet_accuracy", accuracy)
comparison = markdown.compare("imagenet_accuracy", accuracy, ["top-1 (%)", "top-5 (%)"])
caption = (
    "How often the right class is the network's first guess, and among its first five: SqueezeNet (and AlexNet) on "
    "imagenet-sample, AlexNet's features with a linear layer on Tiny ImageNet's validation pictures."
)
Markdown(markdown.to_markdown(comparison, caption, "tab-accuracy"))

# %% tags=["hide-input"]
path = tables.RESULTS / "photographs.json"
recorded_facts = json.loads(path.read_text()) if path.exists() else {}
Markdown(
    "".join(
        f"The linear layer was trained on {len(train):,} pictures of {len(train.wnids)} classes with a weight decay of "
        f"{linear_probe.ProbeConfig().decay:g}; L-BFGS {fit.status} after {len(fit.losses) - 1} iterations, at a loss of "
        f"{fit.losses[-1]:.3f}. "
        for train, fit in trained.values()
    )
    + "".join(
        f"The recorded one was trained on {facts['num_train']:,} pictures, all that our part of Tiny ImageNet has."
        for name, facts in recorded_facts.items()
        if name == "AlexNet features"
    )
    or "The linear layer was not trained in this build."
)

# %% [markdown]
# ## Figure 5
#
# The attack is that of [the digits](formal_attack), to the letter: it looks for the smallest $r$ with $f(x + r) = l$ and
# $x + r \in [0, 1]^m$, where $m$ is now $3 \cdot 224 \cdot 224$, by the paper's relaxation, which ends a little beyond the
# nearest boundary. As in the paper only pictures are attacked that the
# network classifies correctly. The target class $l$ is chosen in two ways: one class for all pictures, the ostrich (for
# the network that knows no ostrich, the goldfish), and a class drawn at random for each.

# %%
targets, results, seconds = {}, {}, {}
for name, subject in under_attack.items():
    for kind, goal in subject.goals(seeds.generator(run.seeds.targets)).items():
        targets[name, kind] = goal
        results[name, kind], seconds[name, kind] = photographs.adversarial(subject, goal, scale.attack, run.store)

# %% tags=["remove-cell"]
num_shown = 5 if profile == "paper" else 2
panels = {}
for (name, kind), result in results.items():
    subject = under_attack[name]
    if name not in panels and kind != "to random classes":
        said = [[subject.words[i] for i in classes] for classes in (subject.labels, targets[name, kind])]
        x, x_adv = (rows.unflatten(1, photographs.SHAPE) for rows in (subject.inputs, result.adversarial))
        rows = list(zip(x, perturbations.magnified(x, x_adv), x_adv, *said, strict=True))
        panels[name] = rows[:num_shown]

# %% mystnb={"figure": {"caption": "Figure 5, with this build's pictures. In each block: the original, which the network classifies correctly; ten times the difference, around grey; the adversarial picture, and what the network says of it.", "name": "fig-ostriches"}, "image": {"alt": "Rows of photographs in blocks of three columns: a photograph, a grey square with faint coloured noise, and a photograph that looks the same as the first."}} tags=["hide-input"]
grids.originals_differences_adversarials(
    panels,
    "Left and right look alike; the network disagrees",
    "No network or no photographs in this build (see the top of the page):\nnothing can be shown, since pictures of a data set are not kept with the book.",
)
# %% [markdown]
# Look for the difference between left and right. The middle column has it ten times larger and shifted to grey, as the
# paper shows it. Nothing in it says "ostrich".
#
# How large is it? The paper gives one number, the average distortion over 64 pictures. Beside it ours, averaged in two
# ways: as the mean over pictures of each one's root mean square, and as the root mean square over all pixels of all
# pictures, which is what [the digits](formal_attack) suggest the paper averaged.

# %%
cells = {}
for (name, kind), result in results.items():
    case = f"{name}, {kind}"
    lengths = result.distortion.cpu().numpy()
    cells[case, "distortion"] = intervals.mean(lengths)
    cells[case, "root mean square"] = intervals.root_mean_square(lengths)
    cells[case, "success (%)"] = intervals.percent(int(result.success.sum()), len(lengths))
    cells[case, "attack (s)"] = effects.exactly(seconds[name, kind], len(lengths))

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    tables.record("figure5", cells)
comparison = markdown.compare("figure5", cells, ["distortion", "root mean square"])
caption = "Average distortion of photographs: the mean over pictures, and the root mean square over all pixels of all."
Markdown(markdown.to_markdown(comparison, caption, "tab-photographs"))

# %% tags=["remove-cell"]
printed = tables.values("figure5")["AlexNet of 2012", "distortion"]
recorded = tables.recorded_estimates("figure5")
known, source = (recorded, "As recorded") if recorded else (cells, "In this build")
averages = ("distortion", "root mean square")
series = {column: {case: e for (case, c), e in known.items() if c == column} for column in averages}

# %% mystnb={"figure": {"caption": "Distortions as recorded at the paper's scale (where they have been; else this build's), with 95 % intervals, and the paper's.", "name": "fig-photo-distortion"}, "image": {"alt": "Points with intervals on a logarithmic axis, one row for each network and kind of target, and a dashed line for the paper's number."}} tags=["hide-input"]
comparisons.estimates(
    {"mean over pictures": series["distortion"], "root mean square over all pixels": series["root mean square"]},
    printed,
    "distortion (rms over pixels)",
    "How much the attack changes a photograph",
)
# %% tags=["hide-input"]
nothing = "Nothing has been recorded yet, and this build has no photographs."
reached = {case: e for (case, column), e in known.items() if column == "success (%)"}
Markdown(
    f"{source}, {min(e.value for e in reached.values()):.0f} % of the attacks reached their target, on "
    f"{min(e.n for e in reached.values())} pictures each. In units of one of a picture's 256 levels of brightness the mean "
    "distortions are "
    + "; ".join(f"{case}, {255 * e.value:.2f}" for case, e in series["distortion"].items())
    + f"; the paper's, {255 * printed:.2f}. The attacks took "
    + ", ".join(f"{e.value:.0f} s" for (_, column), e in known.items() if column == "attack (s)")
    + "."
    if known
    else nothing
)

# %% [markdown]
# A picture file holds 256 levels of brightness, so what the attack does lies mostly *between* the levels. The network, its
# training and the pictures are not the paper's, whose weights nobody has, and any of them may be behind a difference. There
# is another suspect, the search over $c$, to which we come below.
#
# ## Would it survive being saved?
#
# A PNG file loses nothing but what lies between the levels. The attack knows nothing of levels, and stops as soon as the
# target is ahead by a hair; two reasons to fear that rounding undoes it. Both have the same remedy: go farther the same
# way, $x + t\,(x' - x)$ with $t > 1$, clipped to $[0, 1]$.

# %%
aftermath = {
    (f"{name}, {kind}", column): estimate
    for (name, kind), result in results.items()
    for column, estimate in photographs.aftermath(under_attack[name], result, targets[name, kind]).items()
}

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    tables.record("photographs_extended", aftermath)
shown = ["as bytes, times 1 (%)", "as bytes, times 2 (%)", "probability, times 1", "probability, times 2"]
comparison = markdown.compare("photographs_extended", aftermath, shown)
caption = (
    "How often the network still says the target once the picture is rounded to bytes, as found and with its perturbation "
    "doubled; and the mean probability of the target, of the exact pictures."
)
Markdown(markdown.to_markdown(comparison, caption, "tab-saved"))

# %% tags=["remove-cell"]
kept = tables.recorded_values("photographs_extended") or {cell: e.value for cell, e in aftermath.items()}
cases = list(dict.fromkeys(case for case, _ in kept)) or ["no photographs"]


def against_factor(case, column, unit):
    """One column of a case, for every factor, in per cent; nan where nothing is known."""
    columns = [column.format(f"{factor:g}") for factor in photographs.FACTORS]
    return unit * tables.grid(kept, [case], columns)[0]


# %% mystnb={"figure": {"caption": "What becomes of the pictures when their perturbation is extended, as recorded (else in this build): how often the network says the target, of the exact picture and of its bytes, and the mean probability of the target.", "name": "fig-extended"}, "image": {"alt": "Panels with three rising curves each: success of exact pictures, of rounded pictures, and the probability of the target, against the factor."}} tags=["hide-input"]
curves.rates_against_factor(
    photographs.FACTORS,
    {
        case: {
            "exact": against_factor(case, "as found, times {} (%)", 1),
            "as bytes": against_factor(case, "as bytes, times {} (%)", 1),
            "probability": against_factor(case, "probability, times {}", 100),
        }
        for case in cases
    },
    "A little farther the same way",
    ylabel="target (%)",
)
# %% [markdown]
# At the boundary the probability of the target is at best one half, and less where several classes compete: an adversarial
# example of least length is, by its nature, one of least confidence. The curves tell what a little more length buys.

# %% tags=["hide-input"]
longer = {case: printed / e.value for case, e in series["distortion"].items()}
sure = {
    case: float(
        np.interp(
            min(factor, max(photographs.FACTORS)),
            photographs.FACTORS,
            against_factor(case, "probability, times {}", 100),
        )
    )
    for case, factor in longer.items()
}
Markdown(
    f"{source}, the paper's average distortion is "
    + "; ".join(f"{factor:.1f} times that of {case}" for case, factor in longer.items())
    + f". With perturbations as long as that (or {max(photographs.FACTORS):g} times ours, where that is less) the probability "
    "of the target would be " + "; ".join(f"{value:.0f} % for {case}" for case, value in sure.items()) + "."
    if known
    else nothing
)

# %% [markdown]
# A perturbation as long as the paper's would lie far inside the target's region, if it went the way of ours. Had the paper
# found the shortest? A search that lowers $c$ by a factor of $q$ at a time until it succeeds stops anywhere between the
# best $c$ and $c / q$, and the lower price buys a longer $r$. And have we? The paper's problem, solved well, still ends
# where length and cross-entropy balance; the tight attack of [the digits](formal_attack) goes on from there to where the
# boundary is nearest, or as near to it as the network's many kinks let it come. Both, on some of the pictures:

# %%
coarse = {}
for name, subject in under_attack.items():
    some, found_there = photographs.first(subject, results[name, "to random classes"], scale.num_coarse)
    goal = targets[name, "to random classes"][: scale.num_coarse]
    near = photographs.tightened(some, found_there, goal, scale.tight, run.store)
    lengths = {"tight attack": near.distortion, "as found": found_there.distortion}
    for factor in (10, 100):
        generator = seeds.generator(run.seeds.noise)
        lengths[f"q = {factor}"] = photographs.stopped_early(
            some, found_there, goal, factor, scale.attack, generator, run.store
        )
    by_all = torch.stack(list(lengths.values())).isfinite().all(dim=0)  # the same pictures in every column
    if by_all.sum() > 1:
        coarse |= {(name, way): intervals.mean(values[by_all].cpu().numpy()) for way, values in lengths.items()}

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    tables.record("photographs_coarse", coarse)
coarse_estimates = tables.recorded_estimates("photographs_coarse") or coarse
known_coarse = {cell: e.value for cell, e in coarse_estimates.items()}
caption = (
    "Mean distortion, random target classes: by the tight attack, as our search solves the paper's problem, and as "
    "searches in coarse steps would have. Over the pictures, of the first "
    f"{photographs.SCALES['paper' if coarse_estimates is not coarse else profile].num_coarse}, for which each of them finds "
    f"one: {', '.join(f'{name} {e.n}' for (name, way), e in coarse_estimates.items() if way == 'as found')}."
)
Markdown(
    markdown.to_markdown(
        markdown.compare("photographs_coarse", coarse, ["tight attack", "as found", "q = 10", "q = 100"]),
        caption,
        "tab-coarse-photographs",
    )
    if known_coarse
    else nothing
)

# %% tags=["hide-input"]
Markdown(
    f"{source}, searching by powers of 100 makes perturbations longer by a factor of "
    + "; ".join(
        f"{value / known_coarse[name, 'as found']:.1f} for {name}, where the paper's is longer by "
        f"{longer[f'{name}, to random classes']:.1f}"
        for (name, way), value in known_coarse.items()
        if way == "q = 100"
    )
    + " (over all pictures attacked). The lower of two such numbers is all that a coarse search can explain."
    + "".join(
        f" For {name} the tight attack is {100 * (1 - value / known_coarse[name, 'as found']):.1f} % shorter than the "
        "relaxation."
        for (name, way), value in known_coarse.items()
        if way == "tight attack"
    )
    if known_coarse
    else nothing
)

# %% [markdown]
# ## Does it move another network?
#
# For digits the paper's most consequential finding is that what was made for one network moves others
# ([Table 2](cross_model)); for photographs it gives no number. Our networks know different classes, so we count how often
# a picture's class **changes**, whatever it changes to, with random targets. Two controls are as long as what they are
# compared with: the perturbation that was made for another picture, and noise in a random direction. Since the pictures
# barely change, each set is also amplified to one length for all, eight of the 256 levels (clipped to $[0, 1]$, which
# shortens it a little).

# %%
loud = 8 / 255
transferred = {}
for name, made_for in under_attack.items():
    x, x_adv = made_for.inputs, results[name, "to random classes"].adversarial
    for perturbation, images in photographs.controls(x, x_adv, seeds.generator(run.seeds.noise)).items():
        for size, changed in {"as found": images, "amplified": photographs.amplified(x, images, loud)}.items():
            for other, subject in under_attack.items():
                row = f"{name}: {perturbation}, {size}"
                transferred[row, f"{other} (%)"] = photographs.moved(subject.network, x, changed)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    tables.record("photographs_transfer", transferred)
columns = [f"{name} (%)" for name in ("SqueezeNet 1.1", "AlexNet", "AlexNet features")]
everywhere = {column for _, column in [*tables.recorded_values("photographs_transfer"), *transferred]}
columns = [column for column in columns if column in everywhere]
comparison = markdown.compare("photographs_transfer", transferred, columns, index="made for, perturbation, size")
caption = "How often, in per cent, a network's first guess changes when the picture does."
Markdown(markdown.to_markdown(comparison, caption, "tab-photo-transfer") if columns else nothing)

# %% tags=["hide-input"]
rates = tables.recorded_values("photographs_transfer") or {cell: e.value for cell, e in transferred.items()}


def cells_of(one, other):
    """The amplified rows of what was made for one network, in the column of the other."""
    kinds = ("its own", "that of another", "noise")
    return [(f"{one}: {kind}, amplified", f"{other} (%)") for kind in kinds]


Markdown(
    " ".join(
        "{}, amplified, what was made for {} moves {} on {:.0f} % of the pictures, the perturbation of another picture on "
        "{:.0f} %, noise on {:.0f} %.".format(source, one, other, *(rates[cell] for cell in cells_of(one, other)))
        for one, other in (("SqueezeNet 1.1", "AlexNet features"), ("AlexNet features", "SqueezeNet 1.1"))
        if set(cells_of(one, other)) <= rates.keys()
    )
    + " Where noise does as much as the perturbation of another picture, it is the length that counts."
    if rates
    else nothing
)

# %% [markdown]
# ## Check
#
# What this page rests on, asserted: every adversarial picture is a picture, does what it should, and its distortion is
# what was said; and what was attacked had been classified correctly.

# %%
for (name, kind), result in results.items():
    subject = under_attack[name]
    assert result.success.all(), (name, kind)
    assert ((result.adversarial >= 0) & (result.adversarial <= 1)).all()
    difference = result.adversarial - subject.inputs
    torch.testing.assert_close(result.distortion, difference.square().mean(dim=1).sqrt())
    assert photographs.moved(subject.network, subject.inputs, result.adversarial).value == 100
    assert (subject.network(subject.inputs).argmax(dim=1) == subject.labels).all()
if "SqueezeNet 1.1" in under_attack and profile == "paper":
    assert abs(under_attack["SqueezeNet 1.1"].top1.value - 62.9) <= 1

# %% tags=["remove-cell"]
if run.records:
    longer = {case: 100 * (e.value / printed - 1) for (case, column), e in cells.items() if column == "distortion"}
    if longer:
        too_long = {case: max(excess, 0.0) for case, excess in longer.items()}
        worst = max(longer, key=longer.get)
        what = f"longest: {worst}, {cells[worst, 'distortion'].value:.5f} over {len(under_attack)} networks"
        claims.record_claim("photographs-adversarial", too_long, what)
        claims.record_claim(
            "photographs-distortion", longer, "; ".join(f"{case} {off:+.0f} %" for case, off in longer.items())
        )
        facts = {
            name: {
                "weights": digits.weights_identity(subject.network),
                "inputs": identity(subject.inputs),
                "num_attacked": len(subject.inputs),
                "num_judged": subject.top1.n,
            }
            for name, subject in under_attack.items()
        }
        for name, (train, _) in trained.items():
            facts[name] |= {"num_train": len(train), "train": train.identity}
        tables.write_atomically(tables.RESULTS / "photographs.json", json.dumps(facts, indent=2) + "\n")
run.finish()
