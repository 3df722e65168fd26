# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Framework: data, networks, training
#
# :::{answer}
# :::
#
# Everything that follows happens to a handful of small classifiers of handwritten digits. This chapter builds them:
# which pictures they see, what they compute, and how they are trained to the end. It settles one thing that the paper
# leaves ambiguous, the {term}`weight decay`, and finishes with the two error columns of the paper's Table 1.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
import torch
from IPython.display import Markdown
from myst_nb import glue

from lib.experiments import digits, live, profiles, readings
from lib.figures import comparisons, curves, grids
from lib.measures import transfer
from lib.networks import mnist
from lib.networks.training import DecayRule
from lib.record import ledger, markdown
from lib.record.markdown import tell

run = digits.begin("framework", profile, data, device, seed)
glue("dataset", run.train.name, display=False)
tell(num_train=len(run.train), num_test=len(run.test))
Markdown(run.banner)

# %% [markdown]
# ## Notation
#
# The pictures are those of MNIST {cite:p}`lecun1998mnist`, where it can be had. An image is a vector
# $x \in [0, 1]^m$ of $m = 784$ pixels, black 0 and white 1. A network maps it to ten **{term}`logits`**
# $z(x)$; the class it says is the largest of them, $f(x) = \arg\max_k z_k(x)$, and the probability it gives class $k$
# is $p_k = e^{z_k} / \sum_j e^{z_j}$. Its loss on a label $l$ is the {term}`cross-entropy` $-\log p_l(x)$. We write
# $\phi(x)$ for the {term}`activations` of some layer.
#
# Two conventions hold throughout `lib`: {term}`inputs <input>` are in $[0, 1]$, whatever a network does to them first lies inside the
# network; and networks return logits.

# %% mystnb={"figure": {"caption": "The first forty training images.", "name": "fig-digits"}, "image": {"alt": "Four rows of ten handwritten digits, white on black."}} tags=["hide-input"]
grids.image_grid(run.train.inputs[:40], num_columns=10, title="What the networks see")
# %% [markdown]
# {term}`This build <in this build>` trains on {glue:text}`num_train` images and tests on {glue:text}`num_test`.
#
# ## The networks
#
# The paper names its networks differently in its two versions; {numref}`tab-networks` gives the names used here. Three
# are linear: a softmax on the pixels, held back by more and more weight decay. Two are the classic {term}`sigmoid` network with
# two hidden layers, in two sizes. The sixth is an odd one, a softmax on top of an {term}`autoencoder` that never saw a label.
# The last two serve other sections: 123-456-10 where training sets are swapped, Conv where single {term}`units <unit>` are looked at
# and as a seventh network in Tables 1 and 2.

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
heads = ["network", "first version", "last version", "layers", "decay of each layer"]
lines = readings.specs()
caption = "The networks, and what the paper calls them. Conv's sizes are ours."
Markdown(markdown.table(heads, lines, caption, "tab-networks", align="left"))

# %% [markdown]
# ## Training to convergence
#
# All but Conv are trained the way one fits a regression, not the way one trains a network today: L-BFGS on the *whole*
# training set, no minibatches, no learning rate, until the loss stops falling. With $\lambda_i$ the decay of layer $i$
# and $k$ a number we come to in a moment, the loss is
#
# $$
# \frac{1}{N} \sum_{n=1}^{N} -\log p_{l_n}(x_n) \; + \; \sum_i \frac{\lambda_i}{k} \sum w_i^2 .
# $$
#
# In `lib/networks/training.py` that is `F.cross_entropy(network(inputs), labels) + weight_decay(network, decay, rule)`.
# A fit counts as converged when an iteration lowers the loss by less than a stated amount, or when no component of the
# gradient exceeds a stated size; how each one ended is reported below, also when it simply ran out of iterations. AE400-10
# appears twice: as the autoencoder that makes the code, and as the softmax on the code.

# %%
trained = {name: run.trained(name) for name in mnist.TABLE1}

# %% mystnb={"figure": {"caption": "Loss against accepted iterations. The linear classifiers have a convex loss and are done soon; the sigmoid networks take longer.", "name": "fig-training"}, "image": {"alt": "Six falling curves of training loss against L-BFGS iterations, on a logarithmic axis."}} tags=["hide-input"]
losses = {name: each.result.losses for name, each in trained.items()}
curves.training_curves(losses, "Full-batch L-BFGS, six networks")
# %% mystnb={"markdown_format": "myst"}
fits = run.table("fits", readings.fits(trained))
caption = "How each fit ended: 1 if it converged, else 0."
Markdown(fits.show(readings.FITS, caption=caption, name="tab-fits"))

# %% [markdown]
# ## What is k?
#
# The paper divides the decay by $k$, "the number of units in the layer". For the softmax that would be 10. The errors of
# the three {term}`linear networks <linear network>` in Table 1 are a good test of that sentence: their loss is convex, so the minimum is unique
# and nothing but the decay can move it. Three readings:

# %%
rules = {"λ/2": DecayRule.HALF, "λ/10": DecayRule.UNITS, "λ": DecayRule.FULL}
cells = {
    (name, f"{label}, {column}"): estimate
    for label, rule in rules.items()
    for name in mnist.LINEAR
    for column, estimate in run.errors(run.trained(name, rule)).items()
}
decay = run.table("decay", cells)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
columns = [f"{label}, {column}" for label in rules for column in readings.ERRORS]
printed = readings.in_columns(ledger.digits("table1"), rules)
caption = "Errors of the linear networks under three readings of the decay."
decays = decay.against(printed)
Markdown(decays.show(columns, caption=caption, name="tab-decay", index="network"))

# %% mystnb={"figure": {"caption": "Test error of the linear networks under three readings of the decay: the one that the paper used should end at its lines. As recorded, else of this build, where it is fairly comparable with the paper's only on all of MNIST.", "name": "fig-decay"}, "image": {"alt": "Bars of test error for three linear networks under three decay readings, with the paper's values marked."}} tags=["hide-input"]
test, paper = "test error (%)", ledger.printed("table1")
bars = readings.by_network(decay.told, rules, test)
theirs = {name: paper[name, test] for name in mnist.LINEAR}
comparisons.error_bars(bars, theirs, "Which decay did the paper use?")
# %% [markdown]
# How far is each from the paper? We compare the first two networks. For the third no reading gives both of its errors,
# although its minimum is as unique as theirs: something besides the decay was different there, and we do not know what.

# %%
off = {label: readings.farthest(decay.told, paper, label) for label in rules}
tell(decay_source=decay.source, half=(off["λ/2"], ".2f"))
tell(tenth=(off["λ/10"], ".2f"), full=(off["λ"], ".2f"))
tell(fits_best_name=readings.best(off))

# %% [markdown]
# {glue:text}`decay_source`, the largest distance from the paper in the four errors of these two networks is
# {glue:text}`half` points with λ/2, {glue:text}`tenth` with λ/10 and {glue:text}`full` with λ: the best is
# {glue:text}`fits_best_name`. Where all of MNIST is trained on, the sentence taken literally (λ/10) makes the networks too good
# on the images that they were trained on, and with λ/2, the textbook's $\tfrac{\lambda}{2} \sum w^2$ and what most code of
# the time did, the errors are the paper's to about the digit printed. The book uses λ/2 everywhere.
#
# ## The autoencoder
#
# AE400-10 has 400 sigmoid units whose weights are learnt without labels, by reconstruction; a softmax is then trained on
# the frozen code. The paper says that its first-layer filters were "of very high quality" and that it was sparse, and
# nothing else. Our loss for weights $W$, code $h = \sigma(Wx + b)$ and linear reconstruction $\hat x = W^\top h + a$ is
#
# $$
# \underbrace{\tfrac12 \mathbb{E} \lVert \hat x - x \rVert^2}_{\text{reconstruction}}
# + \beta \underbrace{\sum_j \mathrm{KL}\big(\rho \,\Vert\, \mathbb{E} h_j\big)}_{\text{sparsity}}
# + \gamma \underbrace{\mathbb{E} \lVert \partial h / \partial x \rVert_F^2}_{\text{contraction}} ,
# $$
#
# the last term being that of the contractive autoencoder {cite:p}`rifai2011contractive`. It is trained on
# {glue:text}`num_code_images` of the training images in this build, and ends when its budget of iterations does; the softmax on the
# code is trained on all images, to convergence. Why these choices and not others is told at the end of this chapter.

# %%
filters = trained["AE400-10"].network.encoder.weight
tell(num_code_images=min(run.profile.autoencoder.num_images, len(run.train)))

# %% mystnb={"figure": {"caption": "Sixty of the 400 filters of this build, each scaled to its own largest weight: grey is zero.", "name": "fig-filters"}, "image": {"alt": "Five rows of twelve autoencoder filters, grey with brighter and darker strokes or speckles."}} tags=["hide-input"]
title = "What the autoencoder's units look for"
grids.image_grid(filters[:60], num_columns=12, title=title, symmetric=True)
# %% [markdown]
# ## Table 1, the errors
#
# The paper's columns are printed as published; beside them stands what this code measured. Folded below are 95 % Wilson
# {term}`intervals <interval>`, and, measured by `make spread` on the same images, mean and range over several {term}`seeds`, of which
# the {term}`recorded` one, 0, is one. An interval speaks of images, such a range of first weights, targets
# and halves of the data.

# %% mystnb={"markdown_format": "myst"}
cells = {
    (name, column): estimate
    for name, network in trained.items()
    for column, estimate in run.errors(network).items()
}
table1 = run.table("table1", cells)
shown = {"caption": "Errors of Table 1.", "name": "tab-errors", "rows": mnist.TABLE1}
Markdown(table1.show(readings.ERRORS, **shown))

# %% [markdown]
# Softmax 1 is the exception: with a decay that strong, no reading in {numref}`tab-decay` gives both of its errors.
#
# For your browser the recorded ones of these six networks are kept in `results/`, a byte a weight. What that costs:

# %%
in_bytes = live.packed(trained)
rounded = run.table("rounded", live.lost(trained, live.networks(in_bytes), run))
run.keep(live.FILE, in_bytes)
tell(
    rounded_source=rounded.source,
    most_lost=(max(e.value for e in rounded.column(live.LOSS).values()), ".2f"),
)

# %% [markdown]
# {glue:text}`rounded_source`, at most {glue:text}`most_lost` points of test error.
#
# ## Which autoencoder?
#
# :::{more} Variants of the autoencoder, and what each does
# :::
#
# The paper's sentence about the autoencoder allows almost anything: what made the code sparse, whether the decoder shares
# the encoder's weights, whether pixels are reconstructed as numbers or as probabilities, whether the input was noisy. So we
# trained {glue:text}`num_variants` of them, each with a quarter of the iterations that the one above gets, which is where
# all of them end: some might improve with more. We ask of each what it does to the errors; how far an image must move to
# change the network's mind (the {term}`distortion` of the [next chapter](formal_attack)); how often what was made for it fools the
# five other networks of Table 1; and how often it is fooled by what was made for them. What each changes in the loss above,
# `profiles.AUTOENCODER_VARIANTS` says:

# %%
compared, variants, cells = readings.bench(run, trained), {}, {}
for label in profiles.AUTOENCODER_VARIANTS:
    variant = run.with_autoencoder(label)
    variants[label] = variant.trained("AE400-10")
    measured = readings.judged(variant, variants[label], compared)
    cells |= {(label, column): estimate for column, estimate in measured.items()}
table = run.table("autoencoder", cells)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
as_printed = readings.judged_in_paper(paper, ledger.printed("table2"))
heads, lines = readings.variants(table, run, as_printed)
caption = f"What each reading of the paper's sentence gives. {table.source}."
Markdown(markdown.table(heads, lines, caption, "tab-variants"))

# %% mystnb={"figure": {"caption": "Twelve filters of each variant in this build, in the order of the table; each filter is scaled to its own largest weight, and grey is zero.", "name": "fig-variants"}, "image": {"alt": "Rows of twelve filters, a row for each variant, grey with brighter and darker patches, which are strokes in some rows and speckles in others or in all."}} tags=["hide-input"]
filters = torch.cat([v.network.encoder.weight[:12] for v in variants.values()])
shown = {"num_columns": 12, "symmetric": True, "row_titles": list(variants)}
grids.image_grid(filters, title="High quality is in the eye of the beholder", **shown)
# %%
both, sparse, fools = "sparse, contractive", "sparse", "fools others (%)"
told, length = table.told, "distortion"
tell(num_variants=len(variants), variants_source=table.source, num_judged=table.n)
tell(sparse_error=(told[sparse, test], ".2f"), both_error=(told[both, test], ".2f"))
tell(sparse_distortion=(told[sparse, length], ".4f"))
tell(both_distortion=(told[both, length], ".4f"))
nearest = transfer.nearest(told, variants, fools, as_printed[fools])
tell(paper_fools=(as_printed[fools], ".1f"), both_fools=(told[both, fools], ".1f"))
tell(nearest=nearest, nearest_fools=(told[nearest, fools], ".1f"))

# %% [markdown]
# {glue:text}`variants_source`, a sparse code alone ends at a test error of {glue:text}`sparse_error` % and a
# distortion of {glue:text}`sparse_distortion`. With the contraction penalty it is {glue:text}`both_error` % and
# {glue:text}`both_distortion` (distortions and rates are of the first {glue:text}`num_judged` training images). Filters tell the same story ({numref}`fig-variants`; trained for long enough, on
# MNIST): with linear output and the contraction penalty they become strokes, noise on the input alone does half of
# that, and without either they stay speckled, however sparse the code. Compare with the column of distortions.
#
# A network that is hard to fool needs larger {term}`perturbations <perturbation>`, and larger perturbations {term}`carry over <transfer>` to others. What was made for
# the paper's autoencoder fools the other networks in {glue:text}`paper_fools` % of cases, by its Table 2.
# {glue:text}`variants_source`, what was made for the sparse, contractive one does so in {glue:text}`both_fools` %. The variant that
# comes nearest to the paper in this is "{glue:text}`nearest`", with {glue:text}`nearest_fools` %. We did not go back and
# choose it: the network of Table 1 was fixed before its row of Table 2 was measured.
#
# A penalty on how fast the *code* changes with the *pixels* is a penalty on exactly what the next chapter exploits.
# Whether the authors had anything of the kind is not known.
#
# A caveat: the loss and its weights were chosen after some forty short runs of such variants, with an eye on the test
# error and on a quick attack of another kind. The recorded numbers therefore flatter this network a little. Whitened
# inputs were not tried, nor were all 60,000 images.
#
# ## Check
#
# :::{more} What later chapters rely on
# :::
#
# What later chapters rely on, asserted here:

# %%
assert all(each.result.status != "line search failed" for each in trained.values())
parameters = [p for each in trained.values() for p in each.network.parameters()]
assert not any(p.requires_grad for p in parameters)
for name in ("100-100-10", "200-200-10"):
    assert table1.now[name, "training error (%)"].value == 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
Markdown(run.verdicts())

# %% [markdown]
# ## Exercises
#
# **1. A direction that decay decides.** Show that the ten weight vectors of a linear network add up to zero when its training
# has converged. (What does the loss say about adding one vector to all of them, and what does the decay?) Check softmax 1.
#
# :::{dropdown} Solution 1
# To add $a$ to every $w_k$ adds $a \cdot x$ to all logits, which changes no probability: the first part of the loss stays. The
# decay of $\sum_k \lVert w_k + a \rVert^2$ is least where its slope $2 \sum_k (w_k + a)$ is zero, and at the minimum $a = 0$.
#
# ```python
# weight = trained["softmax 1"].network[0].weight
# assert weight.sum(dim=0).norm() < 0.01 * weight.norm()
# ```
# :::
#
# **2. One decay for another.** With which $\lambda$ does the reading λ/2 train the network that λ/10 trains with $\lambda = 0.01$?
#
# :::{dropdown} Solution 2
# $\lambda' / 2 = \lambda / 10$ makes $\lambda' = \lambda / 5$, here 0.002: the two losses are the same function. So the readings
# differ by no more than the unit in which the decay is printed, and only printed errors can tell them apart.
#
# ```python
# import copy
#
# from lib.networks import training
#
# network = copy.deepcopy(trained["softmax 1e-2"].network).requires_grad_()
# tenth = training.weight_decay(network, [0.01], DecayRule.UNITS)
# half = training.weight_decay(network, [0.002], DecayRule.HALF)
# torch.testing.assert_close(tenth, half)
# ```
# :::
#
# **3. Other first weights.** Train softmax 1 and 100-100-10 from another seed. On how many test images do the two versions of each
# say the same class? Which of the two must agree with itself, if training is long enough?
#
# :::{dropdown} Solution 3
# The linear one: its loss is convex, and with decay its weights have one minimum only, from wherever they start. A network
# with hidden layers has many.
#
# ```python
# again = run.with_seed(seed + 1)
# for name in ("softmax 1", "100-100-10"):
#     networks = trained[name].network, again.trained(name).network
#     first, second = (transfer.predictions(each, run.test.inputs) for each in networks)
#     print(f"{name}: {100 * (first == second).float().mean():.1f} % alike")
# ```
# :::

# %% tags=["remove-cell"]
run.finish()
