# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Units and directions
#
# What does a unit deep in a network stand for? The usual answer is a row of pictures: those of a test set that excite it
# most. If they have something in common, that is what the unit has learned to see. The paper puts one question to this
# practice: would any *mixture* of units not give rows that look just as good? It shows a few rows of either kind, and
# concludes that single units are nothing special: what a layer knows lies in the space, not in its axes.
#
# The paper looked at sixteen rows. Here you may look at more, without being told which is which; and then we measure
# all of them.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
import json

import pandas as pd
import scipy.stats
import torch
from IPython.display import HTML, Markdown
from myst_nb import glue
from torch import nn

from lib.data import downloads, photographs
from lib.experiments import digits, layers, seeds
from lib.figures import blind_test, comparisons, grids
from lib.measures import effects, intervals, units
from lib.networks import imagenet, mnist
from lib.record import claims, markdown, tables

run = digits.begin("units", profile, data, device, seed)
settings = run.profile.units
test, reference = run.test.take(settings.num_images), run.train.take(settings.num_images)

glue("dataset", run.train.name, display=False)
glue("num_test", len(test), display=False)
glue("k", settings.k, display=False)
glue("large_k", settings.large_k, display=False)
glue("num_sample", settings.num_sample, display=False)
glue("num_tiny", settings.num_classes * settings.num_per_class, display=False)
glue("num_directions", settings.num_directions, display=False)
glue("num_axes", settings.num_axes, display=False)
limit = claims.limit("no-distinction")
glue("limit", limit, display=False)
Markdown(run.banner)

# %% [markdown]
# ## Two rows of pictures
#
# Let $\phi(x)$ be the activations of a layer and $I$ a set of images that the network was not trained on. The paper
# compares
#
# $$
# x' = \arg\max_{x \in I} \, \langle \phi(x), e_i \rangle
# \qquad \text{with} \qquad
# x' = \arg\max_{x \in I} \, \langle \phi(x), v \rangle ,
# $$ (directions)
#
# where $e_i$ is the $i$-th vector of the natural basis, so that the first picks what excites unit $i$, and $v$ is a
# random vector. A row holds the {glue:text}`k` best images instead of the best alone. In `lib/measures/units.py` that is
# `units.responses` followed by `units.top_activating`.
#
# The network is Conv, and the layer its last hidden one, 256 rectified units. Some of them are *dead*: they fire on
# fewer than {glue:text}`k` of our {glue:text}`num_test:,` test images, and a row made for them would be filled up from
# a tie of zeros. They are left out; all that follows is about the others, and about directions among the others.


# %%
def layers_of(conv):
    """The convolution's output (after rectifying and pooling) and the hidden layer's, as functions of images."""
    convolution = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), conv.features)
    return convolution, nn.Sequential(convolution, conv.hidden)


conv = run.trained("Conv").network
convolution, hidden = layers_of(conv)
phi = units.activations(hidden, test.inputs)
glue("num_dead", int((~units.live_units(phi, settings.k)).sum()), display=False)

# %% [markdown]
# {glue:text}`num_dead` of the 256 are dead.
#
# ## What we measure, fixed before looking
#
# "Have something in common" needs a number. For the $k$ images of a row, and unit vectors $u_1, \dots, u_k$ that
# describe them, take the mean cosine over all pairs:
#
# $$
# \frac{1}{k(k-1)} \sum_{i \ne j} \langle u_i, u_j \rangle
# \; = \; \frac{\bigl\| \sum_i u_i \bigr\|^2 - k}{k(k-1)} .
# $$ (agreement)
#
# The right-hand side needs no pairs, which makes it cheap for a million rows (`units.agreement`). Who describes the
# images? Not the layer itself, but **judges** that know nothing of it (only the control *pixels*, below, is also judged by
# pixels):
#
# - *labels*: $u$ is the indicator of the class, and {eq}`agreement` is the share of pairs with the same label;
# - *another network*: the last hidden layer of 200-200-10, another architecture with other weights;
# - *autoencoder*: the code of AE400-10, which never saw a label;
# - *pixels*: the image itself.
#
# Descriptions are centred over the test images before they are brought to length one.
#
# The comparison is between *all* live units and {glue:text}`num_directions:,` random directions. Its size is Cliff's
# delta {cite:p}`cliff1993dominance`: the probability that a random unit's row agrees more than a random direction's,
# less the probability that it agrees less. Below {glue:text}`limit` in absolute value an effect is conventionally
# called negligible {cite:p}`romano2006appropriate`. The primary measures, $k$ = {glue:text}`k` as in the figures,
# labels and another network as judges, and that limit were written into `paper/claims.csv` before anything was
# measured; a second $k$ of {glue:text}`large_k` and the other judges are there to see whether the answer hangs on them.

# %%
other, autoencoder = run.trained("200-200-10").network, run.trained("AE400-10").network
judges = {
    "labels": units.label_vectors(test.labels.cpu()),
    "another network": units.unit_vectors(units.activations(nn.Sequential(*list(other)[:-1]), test.inputs)),
    "autoencoder": units.unit_vectors(units.activations(autoencoder.encode, test.inputs)),
    "pixels": units.unit_vectors(test.inputs.cpu()),
}


def look(activations, others, judges):
    """Units and directions of a layer; scales and axes are fitted to its activations on other images."""
    return units.study(activations, others, judges, settings, seeds.generator(run.seeds.directions), seed)


studies = {"Conv, hidden layer": look(phi, units.activations(hidden, reference.inputs), judges)}

# %% [markdown]
# ## Figures 1 and 2
#
# The paper does not say how its rows were chosen. Ours were drawn by lot.


# %%
def chosen(study, family, numbers, show):
    """Rows of pictures by name: of the live units or of the directions with these numbers."""
    names = torch.nonzero(study.live)[:, 0] if family == "units" else torch.arange(len(study.top[family]))
    kind = "unit" if family == "units" else "direction"
    return {f"{kind} {int(names[i])}": show(study.top[family][i, : settings.k]) for i in numbers}


def lot(study, family, num):
    """Numbers of rows, drawn at random."""
    return torch.randperm(len(study.top[family]), generator=seeds.generator(run.seeds.rows))[:num].tolist()


def digits(rows):
    """Test images by their numbers."""
    return test.inputs[rows].cpu()


study = studies["Conv, hidden layer"]


# %% tags=["hide-input"]
def side_by_side(study, show, num=4):
    """Rows of that many units and of that many directions."""
    families = {"single units": "units", "random directions": "random"}
    return {title: chosen(study, family, lot(study, family, num), show) for title, family in families.items()}


# %% mystnb={"figure": {"caption": "Figures 1 (left) and 2 (right) of the paper, rebuilt: the ten test images that excite each of four units of Conv's last hidden layer most, best first, and the same for four random directions among the units.", "name": "fig-digits-liked"}, "image": {"alt": "Two columns of four blocks of ten handwritten digits, one block for each unit on the left and for each direction on the right."}} tags=["hide-input"]
grids.picture_rows(side_by_side(study, digits), "The last hidden layer")
# %% [markdown]
# One layer down, after the convolution, there are $32 \times 12 \times 12$ units. Taken literally, equation
# {eq}`directions` speaks of each of them, and of mixtures of all.

# %%
below, below_reference = (units.activations(convolution, images.inputs) for images in (test, reference))
studies["Conv, convolution"] = look(below, below_reference, judges)

# %% mystnb={"figure": {"caption": "Four units of the convolutional layer, each a filter at one place, and four random directions.", "name": "fig-lower"}, "image": {"alt": "Two columns of four blocks of ten handwritten digits, units on the left, directions on the right."}} tags=["hide-input"]
grids.picture_rows(side_by_side(studies["Conv, convolution"], digits), "One layer lower")

# %% [markdown]
# ## Which is which?
#
# Twenty rows of the hidden layer, in random order: ten from single units, ten from random directions, none of them shown
# above. Guess before you read on; the score below counts every guess made on this page and nothing leaves it.


# %% tags=["hide-input"]
def questions(study, show, words, num=10):
    """As many rows of units as of random directions, other than those of the figures."""
    rows = []
    for kind, family in {"a single unit": "units", "a random direction": "random"}.items():
        numbers = lot(study, family, 4 + num)[4:]
        for i, (name, images) in zip(numbers, chosen(study, family, numbers, show).items(), strict=True):
            shown = [words[int(n)] for n in study.top[family][i, : settings.k]]
            rows.append(blind_test.Row(images, kind, name, f"Ten pictures: {', '.join(shown)}."))
    return rows


labels_in_words = [str(int(label)) for label in test.labels]
HTML(blind_test.element(questions(study, digits, labels_in_words), seeds.generator(run.seeds.rows)))

# %% [markdown]
# ## All of them
#
# Beside Gaussian directions, the paper's, stand other candidates for what might be special:
#
# - *random, positive*: mixtures without negative weights, since rectified units never fire negatively;
# - *random, equal scales*: Gaussian after every unit is divided by its standard deviation;
# - *random, whitened axes*: Gaussian mixtures of the {glue:text}`num_axes` leading principal axes (fewer where the layer
#   has fewer), each divided by its standard deviation, so that no correlations are left either;
# - *PCA* and *ICA* {cite:p}`hyvarinen2000independent`: the axes of largest variance, and those whose responses are least
#   Gaussian. Axes and scales come from training images, and each axis gets the sign of its longer tail. Fitted to few
#   images, as in a quick build, they are mostly noise;
# - *chance*: images drawn at random, no direction at all.

# %% mystnb={"figure": {"caption": "How far the ten best images of each unit and each direction agree in the eyes of four judges; Conv's last hidden layer, this build. Boxes are quartiles, diamonds means.", "name": "fig-agreement"}, "image": {"alt": "Box plots in four panels, one for each judge, with a box for units and one for each family of directions."}} tags=["hide-input"]
comparisons.agreements(study.agreement, "Do the pictures in a row agree?")

# %% [markdown]
# ## Controls
#
# - *Conv untrained*: the same architecture with its initial weights. What is found there is not learned.
# - *pixels*: the pixel basis of the images themselves.
# - *logits*: a basis that certainly means something, since each unit is a class. A measure that sees no distinction here
#   sees nothing.
# - *maps*: the convolutional layer again, but a unit is now a whole filter, and a direction a mixture of filters; both
#   answer with the maximum over the image.

# %%
untrained = mnist.build(mnist.SPECS["Conv"], seeds.generator(run.seeds.twin)).to(run.device).requires_grad_(False)
_, untrained_hidden = layers_of(untrained)
num_maps = conv.num_filters
controls = {
    "Conv, convolution, maps": (below.unflatten(1, (num_maps, -1)), below_reference.unflatten(1, (num_maps, -1))),
    "Conv, logits": tuple(units.activations(conv, images.inputs) for images in (test, reference)),
    "Conv untrained, hidden layer": tuple(
        units.activations(untrained_hidden, images.inputs) for images in (test, reference)
    ),
    "pixels": (test.inputs.cpu(), reference.inputs.cpu()),
}
studies |= {name: look(*activations, judges) for name, activations in controls.items()}

# %% [markdown]
# ## ImageNet
#
# The paper repeats the experiment with AlexNet on ImageNet's validation images. The weights of AlexNet's five
# convolutions are enough for its last convolutional layer; SqueezeNet 1.1 is there as a whole, and its last module
# (fire 9) is pooled as AlexNet's is. A unit is a filter, a direction a mixture of filters, and either scores an image
# by the largest value in its response map. Each network is judged by the *other* one. The pictures are those of Tiny
# ImageNet, with as many of each class, and a sample of ImageNet itself with one picture a class, where labels cannot
# judge. Either set serves the other as the images that axes and scales are fitted to, which is why all four files are
# needed. Both come from ImageNet's training pictures, most likely: the networks may have seen them, which the paper's
# validation images rule out. And they are few: {glue:text}`num_sample:,` of the sample and {glue:text}`num_tiny:,` of
# Tiny ImageNet for Figures 3 and 4 in this build, where the paper could choose among 50,000, so the best ten of ours are
# far less extreme.

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
wanted = {
    "AlexNet": imagenet.alexnet,
    "SqueezeNet 1.1": imagenet.squeezenet,
    "Tiny ImageNet": photographs.tiny_imagenet,
    "imagenet-sample": photographs.imagenet_sample,
}
there, lacking = downloads.gather(wanted, download=profile == "paper")
Markdown(downloads.banner(there, lacking))

# %%
ON_TINY, ON_IMAGENET = "", ", on ImageNet"
if not lacking:
    tiny = there["Tiny ImageNet"].train
    few = units.balanced(tiny.labels, settings.num_classes, settings.num_per_class)
    sets = {ON_TINY: tiny.subset(few, "balanced"), ON_IMAGENET: there["imagenet-sample"].spread(settings.num_sample)}
    networks = {
        "AlexNet, conv5": there["AlexNet"],
        "SqueezeNet, fire9": there["SqueezeNet 1.1"],
        "AlexNet untrained, conv5": layers.untrained(imagenet.AlexNet, run.seeds.init),
    }
    maps = {
        (layer, name): layers.maps(network, images, run.store, run.device)
        for layer, network in networks.items()
        for name, images in sets.items()
    }
    small = {name: units.unit_vectors(layers.thumbnails(images, run.store)) for name, images in sets.items()}
    classes = {ON_TINY: {"labels": units.label_vectors(sets[ON_TINY].labels)}, ON_IMAGENET: {}}


# %%
def photograph_judges(layer, name):
    """Labels where they repeat, the other network's features, pixels."""
    another = "SqueezeNet, fire9" if layer.startswith("AlexNet") else "AlexNet, conv5"
    network = units.unit_vectors(maps[another, name].mean(dim=2))
    return classes[name] | {"another network": network, "pixels": small[name]}


if not lacking:
    for layer in networks:
        on_tiny, on_imagenet = maps[layer, ON_TINY], maps[layer, ON_IMAGENET]
        studies[layer] = look(on_tiny, on_imagenet, photograph_judges(layer, ON_TINY))
    for layer in ("AlexNet, conv5", "SqueezeNet, fire9"):
        on_tiny, on_imagenet = maps[layer, ON_TINY], maps[layer, ON_IMAGENET]
        studies[f"{layer}{ON_IMAGENET}"] = look(on_imagenet, on_tiny, photograph_judges(layer, ON_IMAGENET))
    studies["AlexNet, conv5, mean over the map"] = look(
        maps["AlexNet, conv5", ON_TINY].mean(dim=2),
        maps["AlexNet, conv5", ON_IMAGENET].mean(dim=2),
        photograph_judges("AlexNet, conv5", ON_TINY),
    )


# %% tags=["hide-input"]
def photographs(name):
    """How to get small pictures of one of the sets by their numbers."""
    return lambda rows: nn.functional.adaptive_avg_pool2d(sets[name].subset(rows).inputs(), 80)


def photograph_rows(layer):
    """Two rows of units and of directions for each set of pictures; none where there are no pictures."""
    panels = {"single units": {}, "random directions": {}}
    for name, short in {} if lacking else {ON_IMAGENET: "ImageNet", ON_TINY: "Tiny ImageNet"}.items():
        drawn = side_by_side(studies[f"{layer}{name}"], photographs(name), num=2)
        for panel, rows in drawn.items():
            panels[panel] |= {f"{label}, {short}": images for label, images in rows.items()}
    return panels


# %% mystnb={"figure": {"caption": "Figures 3 (left) and 4 (right) of the paper, rebuilt on AlexNet's last convolution: the photographs that excite single units and random directions most, among those of imagenet-sample and of Tiny ImageNet.", "name": "fig-photographs-alexnet"}, "image": {"alt": "Two columns of blocks of ten photographs each, of single units of AlexNet on the left and of random directions on the right, if this build has photographs."}} tags=["hide-input"]
grids.picture_rows(photograph_rows("AlexNet, conv5"), "AlexNet, conv5")
# %% mystnb={"figure": {"caption": "The same for SqueezeNet 1.1, fire 9.", "name": "fig-photographs-squeezenet"}, "image": {"alt": "Two columns of blocks of ten photographs each, of single units of SqueezeNet on the left and of random directions on the right, if this build has photographs."}} tags=["hide-input"]
grids.picture_rows(photograph_rows("SqueezeNet, fire9"), "SqueezeNet 1.1, fire 9")
# %% [markdown]
# Guess again, with photographs, if this build has them:

# %% tags=["hide-input"]
HTML(
    ""
    if lacking
    else blind_test.element(
        questions(
            studies[f"AlexNet, conv5{ON_IMAGENET}"],
            photographs(ON_IMAGENET),
            [sets[ON_IMAGENET].words[int(label)] for label in sets[ON_IMAGENET].labels],
            num=6,
        ),
        seeds.generator(run.seeds.rows),
    )
)

# %% [markdown]
# ## The numbers

# %%
resampling = seeds.generator(run.seeds.resampling)
cells = units.cells(studies, settings, resampling)
by_another = study.agreement["another network"]
guessed = effects.best_guess(by_another["units"], by_another["random"])
cells["Conv, hidden layer", "blind guess (%)"] = effects.exactly(100 * guessed, len(by_another["units"]))

# %% tags=["remove-cell"]
if run.records:
    tables.record("units", cells)
kept = tables.recorded_estimates("units")
source = kept or cells
glue("source", "At the paper's scale" if kept else "In this build", display=False)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
ours = [
    "Conv, hidden layer",
    "Conv, convolution",
    "Conv, convolution, maps",
    "Conv untrained, hidden layer",
    "Conv, logits",
    "pixels",
]
foreign = ["AlexNet, conv5", "SqueezeNet, fire9", "AlexNet untrained, conv5"]
rows = [*ours, *(row for row in foreign if (row, "labels: units") in kept | cells)]
columns = ["labels: units", "labels: random"]
caption = (
    "Mean agreement of the ten best images of live units and of Gaussian directions in the eyes of labels, with 95 % "
    "intervals. The paper has no such table."
)
Markdown(markdown.to_markdown(markdown.compare("units", cells, columns, "layer", rows), caption, "tab-agreement"))

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
columns = ["another network: units", "another network: random"]
caption = "The same in the eyes of another network."
Markdown(
    markdown.to_markdown(markdown.compare("units", cells, columns, "layer", rows), caption, "tab-agreement-network")
)

# %% mystnb={"figure": {"caption": "Cliff's delta of units against every family of directions, judged by another network, with 95 % bootstrap intervals over units and directions. Recorded at the paper's scale, or else this build's.", "name": "fig-effects"}, "image": {"alt": "Effect sizes with intervals by layer, one mark for each family of directions, and a band of negligible ones around zero."}} tags=["hide-input"]
comparisons.effect_sizes(
    {
        row: {
            family: source[row, f"another network: delta, {family}"]
            for family in study.agreement["labels"]
            if family not in ("units", "chance") and (row, f"another network: delta, {family}") in source
        }
        for row in rows
        if (row, "another network: units") in source
    },
    limit=limit,
    title="Are single units special?",
)

# %% [markdown]
# ## The verdict on "no distinction"
#
# In the last layer that we have of each network, for both primary judges. The p-values are of a permutation test of
# delta, adjusted for being several {cite:p}`holm1979simple`; the last column is the delta that this many units and
# directions would reveal four times in five at a level of 5 % shared among all.

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
last = [
    row for row in ("Conv, hidden layer", "AlexNet, conv5", "SqueezeNet, fire9") if (row, "labels: units") in source
]
parts = [(row, judge) for row in last for judge in ("labels", "another network")]
delta = {part: source[part[0], f"{part[1]}: delta, random"] for part in parts}
adjusted = effects.holm({part: source[part[0], f"{part[1]}: p, random"].value for part in parts})
detectable = [
    effects.detectable_delta(delta[row, judge].n, source[row, f"{judge}: random"].n, effects.LEVEL / len(parts))
    for row, judge in parts
]
verdicts = pd.DataFrame(
    {
        "judge": [judge for _, judge in parts],
        "delta": [f"{e.value:+.2f} [{e.low:+.2f}, {e.high:+.2f}]" for e in delta.values()],
        "p, adjusted": [f"{adjusted[part]:.4f}" for part in parts],
        "negligible?": ["yes" if abs(e.value) <= limit else "no" for e in delta.values()],
        "detectable": [f"{smallest:.2f}" for smallest in detectable],
    },
    index=pd.Index([row for row, _ in parts], name="layer"),
)
caption = "Single units against Gaussian directions; recorded at the paper's scale, or else this build's."
Markdown(markdown.to_markdown(verdicts, caption, "tab-verdict"))

# %% tags=["remove-cell"]
row = "Conv, hidden layer"
for name, family in {
    "random": "random",
    "scaled": "random, equal scales",
    "white": "random, whitened axes",
    "ica": "ICA",
}.items():
    glue(f"delta_{name}", source[row, f"another network: delta, {family}"].value, display=False)
glue("labels_random", source[row, "labels: delta, random"].value, display=False)
glue("delta_logits", source["Conv, logits", "labels: delta, random"].value, display=False)
untrained_delta = source["Conv untrained, hidden layer", "another network: delta, random"]
glue("delta_untrained", untrained_delta.value, display=False)
glue("untrained_low", untrained_delta.low, display=False)
glue("untrained_high", untrained_delta.high, display=False)
glue("delta_large_k", source[f"{row}, top {settings.large_k}", "another network: delta, random"].value, display=False)
num_inside = sum(max(-e.low, e.high) <= limit for e in delta.values())
glue("num_negligible", sum(abs(e.value) <= limit for e in delta.values()), display=False)
glue("num_inside", num_inside, display=False)
glue("num_parts", len(parts), display=False)
sizes = {f"{row}, {judge}": e.value for (row, judge), e in delta.items()}
outcomes = {"reproduced": "holds", "partly": "holds in part only", "not reproduced": "does not hold"}
glue("outcome", outcomes[claims.judge("no-distinction", sizes)], display=False)
significant = [
    f"{part} (delta {sizes[part]:+.2f}: units agree {'more' if sizes[part] > 0 else 'less'})"
    for part, p in zip(sizes, adjusted.values(), strict=True)
    if p <= effects.LEVEL
]
glue("significant", " and ".join(significant) or "no comparison", display=False)
glue("largest_detectable", max(detectable), display=False)
for judge in ("labels", "another network"):
    glue(f"lower_{judge.split()[0]}", source["Conv, convolution", f"{judge}: delta, random"].value, display=False)
glue("best_guess", source[row, "blind guess (%)"].value, display=False)

# %% [markdown]
# {glue:text}`source`, and by this criterion, "no distinction" {glue:text}`outcome`: {glue:text}`num_negligible` of
# {glue:text}`num_parts` effects are negligible. Negligible is not the same as nothing. {glue:text}`num_inside` of the
# intervals lie wholly within the limit; the least sensitive comparison would have missed a delta below
# {glue:text}`largest_detectable:.2f` more often than one time in five; and the adjusted p-values that are at most 0.05
# are those of {glue:text}`significant`. One layer lower, in Conv's convolution unit by unit, delta is
# {glue:text}`lower_labels:+.2f` in the eyes of labels and {glue:text}`lower_another:+.2f` in those of another network:
# for comparison, the limit is {glue:text}`limit`.
#
# In Conv's last hidden layer delta is
# {glue:text}`labels_random:+.2f` in the eyes of labels and {glue:text}`delta_random:+.2f` in those of another network
# ({glue:text}`delta_large_k:+.2f` with the best {glue:text}`large_k` images). A guesser in the blind test above who
# could compute the other network's agreement, and had learned on one half of the rows which threshold is best, would be
# right {glue:text}`best_guess:.0f` % of the time on the other half.
#
# Three things have to be said beside it.
#
# **"Random direction" is not one thing.** Multiply a rectified unit by 2 and halve its outgoing weights: the network
# computes what it did before. Its units' rows stay as they are, since a row depends on the order of a unit's responses
# only; but Gaussian directions now hear this unit twice as loudly. So the answer to the paper's question depends on a
# choice that means nothing to the network. Bring all units to the same standard deviation, and delta is
# {glue:text}`delta_scaled:+.2f`; remove correlations as well, and it is {glue:text}`delta_white:+.2f`, since such
# mixtures are made mostly of axes along which activity hardly varies. Centring, in contrast, cannot matter: it shifts
# all responses of a direction alike.
#
# **There may be better axes than either.** Against independent components delta is {glue:text}`delta_ica:+.2f`; negative
# means that *their* rows agree more than those of units. That the natural basis is not special would not mean that no
# basis is.
#
# **The control without learning, and the one with meaning.** In the untrained network, whose units nobody would call
# concepts, delta is {glue:text}`delta_untrained:+.2f` [{glue:text}`untrained_low:+.2f`, {glue:text}`untrained_high:+.2f`].
# On the logits, whose units are classes by construction, it is {glue:text}`delta_logits:+.2f`: the measure is not blind.
#
# For a convolution, one more choice: what is the response of a filter to an image? The maximum of its map is the
# custom for units, and ours above. Averaged over the map instead, a direction's response to the image is the mixture
# of the units' responses, as the equation has it.

# %% tags=["hide-input"]
averaged = [f"AlexNet, conv5{way}" for way in ("", ", mean over the map")]
pairs = [(row, f"{judge}: delta, random") for row in averaged for judge in ("labels", "another network")]
Markdown(
    "For AlexNet's conv5 delta is {:+.2f} (labels) and {:+.2f} (another network) with maxima, and {:+.2f} and {:+.2f} with "
    "means.".format(*(source[pair].value for pair in pairs))
    if all(pair in source for pair in pairs)
    else "It was not measured in this build, which has no photographs."
)

# %% [markdown]
# ## Other seeds
#
# One network is one network. The same comparison for Conv trained from other initial weights, on the same images, below
# the network of this page:

# %%
seeds = [seed + i for i in range(settings.num_networks)]
replicas = {}
for other_seed in seeds:
    replica = run.with_seed(other_seed).trained("Conv").network
    found = units.activations(layers_of(replica)[1], test.inputs)
    generator = seeds.generator(run.seeds.directions)
    for judge, value in units.deltas(found, judges, settings, generator).items():
        replicas[f"Conv, seed {other_seed}", f"{judge}: delta, random"] = value

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    tables.record("units", replicas)
again = list(dict.fromkeys(row for row, _ in tables.recorded_estimates("units") | replicas if "seed" in row))
columns = [f"{judge}: delta, random" for judge in ("labels", "another network", "pixels")]
caption = (
    "Cliff's delta of live units against Gaussian directions in Conv's last hidden layer, trained with several seeds."
)
Markdown(markdown.to_markdown(markdown.compare("units", replicas, columns, "network", again), caption, "tab-seeds"))

# %% [markdown]
# ## Rotating the whole basis
#
# Network Dissection {cite:p}`bau2017network` asked the question of a basis rather than of a direction: it rotated
# AlexNet's conv5 at random and counted how many distinct concepts, marked by people in segmented images, still had
# a unit of their own. Some 80 % were lost. It is the clearest evidence *against* "no distinction". We
# have no segmentations, but can do the same with what we have: the mean agreement over a basis, under
# random rotations of it. A single vector of a random rotation is a Gaussian direction in all but length, so what is new
# here is the null hypothesis: *this basis is one of the rotations*.

# %%
turned = {"Conv, hidden layer": (phi, judges)}
for layer in () if lacking else ("AlexNet, conv5", "SqueezeNet, fire9"):
    turned[layer] = (maps[layer, ON_TINY], photograph_judges(layer, ON_TINY))
rotations = {}
for layer, (activations, by) in turned.items():
    live = activations[:, studies[layer].live]
    drawn = layers.rotations(live, by, settings.k, settings.num_rotations, run.seeds.resampling, run.store)
    for judge, means in drawn.items():
        own = float(studies[layer].agreement[judge]["units"].mean())
        rotations[layer, f"{judge}: rotations"] = effects.spread(means)
        rotations[layer, f"{judge}: p, rotations"] = effects.randomisation_test(own, means)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    tables.record("units", rotations)
columns = ["labels: rotations", "labels: p, rotations", "another network: rotations", "another network: p, rotations"]
turned_rows = [row for row in ("Conv, hidden layer", *foreign) if (row, columns[0]) in kept | rotations]
caption = (
    "Mean agreement over the basis under random rotations, with the range of 95 % of them, and how often a rotation is as "
    "far from the middle as the natural basis. Compare with the column of units in the table above."
)
Markdown(
    markdown.to_markdown(markdown.compare("units", rotations, columns, "layer", turned_rows), caption, "tab-rotations")
)

# %% tags=["hide-input"]
told, where = tables.recorded_estimates("units"), "At the paper's scale"
if not any(column.endswith(": rotations") for _, column in told):
    told, where = cells | rotations, "In this build"
cases = [
    (row, judge)
    for row in turned_rows
    for judge in ("labels", "another network")
    if {(row, f"{judge}: rotations"), (row, f"{judge}: units")} <= told.keys()
]
surplus = {
    (row, judge): told[row, f"{judge}: units"].value - told[row, f"{judge}: rotations"].value for row, judge in cases
}
alone = {(row, judge): told[row, f"{judge}: p, rotations"].value for row, judge in cases}
by_chance = effects.holm(alone)
judged_by = list(dict.fromkeys(judge for _, judge in cases))
together = effects.holm(
    {
        judge: float(scipy.stats.combine_pvalues([p for (_, by), p in alone.items() if by == judge]).pvalue)
        for judge in judged_by
    }
)
seen_by = [f"{judge} (p = {p:.3f})" for judge, p in together.items() if p <= effects.LEVEL]
rotated_words = "the natural basis " + (
    f"can be told from its rotations in the eyes of {' and '.join(seen_by)}"
    if seen_by
    else "was not told from its rotations by these networks"
)
glue("rotated_words", rotated_words, display=False)
Markdown(
    f"{where}, in {sum(value > 0 for value in surplus.values())} of {len(cases)} cases, the natural basis agrees more than "
    f"the mean of its rotations; over all of them, the differences range from {min(surplus.values()):+.3f} to "
    f"{max(surplus.values()):+.3f}. Case by case and adjusted for being {len(cases)}, the p-values are "
    + ", ".join(f"{by_chance[row, judge]:.2f} ({row}, {judge})" for row, judge in cases)
    + f": {sum(p <= effects.LEVEL for p in by_chance.values())} are below {effects.LEVEL}. But many small p-values are "
    "improbable even if none is very small, and each network has rotations of its own. Fisher's method asks of all "
    "networks together whether every natural basis is one of its rotations; adjusted for the number of judges, p is "
    + " and ".join(f"{p:.3f} ({judge})" for judge, p in together.items())
    + f". So {rotated_words}. We thought of the joint test only with the single values in view, and a test that is chosen "
    "late deserves less trust than one that was promised. Network Dissection, with segmentations and many more pictures, "
    "lost most of its concepts to a rotation."
)

# %% [markdown]
# Counting detectors is closer still to Network Dissection: how many classes have a direction most of whose
# {glue:text}`k` images are theirs? So that nobody profits from sheer numbers, we count among as many directions as the
# smallest family has, on average over all ways to choose them. With it, what the rows consist of: the share of the most
# frequent class, and the entropy of the classes.


# %%
labels = {"Conv, hidden layer": test.labels.cpu()}
if not lacking:
    labels |= dict.fromkeys(networks, sets[ON_TINY].labels)
composition = {}
for layer, classes_of in labels.items():
    smallest = min(map(len, studies[layer].top.values()))
    for family, best in studies[layer].top.items():
        counts = units.label_counts(classes_of, best[:, : settings.k])
        detected = units.num_detected(counts, smallest)
        composition[layer, f"detected: {family}"] = effects.exactly(detected, smallest)
        composition[layer, f"purity: {family}"] = intervals.mean(units.purity(counts).numpy())
        composition[layer, f"entropy: {family}"] = intervals.mean(units.entropy(counts).numpy())

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    tables.record("units", composition)
known = tables.recorded_estimates("units")
found_rows = [row for row in ("Conv, hidden layer", *foreign) if (row, "detected: units") in known | composition]


def recorded_and_built(row, column, digits):
    """Two numbers, or a dash where there is none."""
    both = (values.get((row, column)) for values in (known, composition))
    return "\u00a0/\u00a0".join("–" if e is None else f"{e.value:.{digits}f}" for e in both)


shown = [("detected", 1, family) for family in ("units", "random", "random, equal scales", "PCA", "ICA")]
shown += [(what, 2, family) for what in ("purity", "entropy") for family in ("units", "random", "chance")]
table = pd.DataFrame(
    {
        (what, family): [recorded_and_built(row, f"{what}: {family}", digits) for row in found_rows]
        for what, digits, family in shown
    },
    index=pd.Index(found_rows, name="layer"),
)
caption = (
    "Recorded / this build: classes with a detector, of 10 digits or of the classes of Tiny ImageNet that were shown; the "
    "share of the most frequent class in a row; the entropy of its classes in bits."
)
Markdown(markdown.to_markdown(table, caption, "tab-composition"))

# %% tags=["hide-input"]
composed = known or composition
of_units, of_random = (
    {row: composed[row, f"detected: {family}"].value for row in found_rows if (row, f"detected: {family}") in composed}
    for family in ("units", "random")
)
Markdown(
    "Network Dissection's count, with labels for concepts: classes with a detector, among units and among as many random "
    "directions, are "
    + "; ".join(f"{row}, {of_units[row]:.1f} and {of_random[row]:.1f}" for row in of_units)
    + f". Units have more in {sum(of_units[row] > of_random[row] for row in of_units)} of {len(of_units)} layers, directions "
    f"in {sum(of_units[row] < of_random[row] for row in of_units)}. Where only a handful of classes have any, that decides "
    "nothing."
)

# %% [markdown]
# ## Does it matter to the network?
#
# Morcos et al. {cite:p}`morcos2018importance` removed single units and found that the class-selective ones matter no more
# than others. Here is their question for Conv: by how much does the loss rise when a unit, or a random direction, is
# projected out of the hidden layer, and does agreement foretell it?

# %%
spread_out = torch.eye(len(study.live))[study.live]
head = conv.classifier[1].cpu()
harm = {
    name: units.importance(phi, head, test.labels.cpu(), directions @ spread_out)
    for name, directions in {
        "units": torch.eye(int(study.live.sum())),
        "random": study.directions["random"][:200],
    }.items()
}
foretold = {
    name: units.rank_correlation(values, study.agreement["labels"][name][: len(values)])
    for name, values in harm.items()
}

# %% tags=["remove-cell"]
importances = {
    ("Conv, hidden layer", "importance: rank correlation, units"): effects.correlated(
        foretold["units"], len(harm["units"])
    ),
    ("Conv, hidden layer", "importance: delta, random"): effects.delta(
        harm["units"], harm["random"], resampling, settings.num_draws
    ),
}
if run.records:
    tables.record("units", importances)
now_or_then = tables.recorded_estimates("units") or importances
correlation, importance_delta = (now_or_then[cell] for cell in importances)
glue("correlation", correlation.value, display=False)
glue("correlation_low", correlation.low, display=False)
glue("correlation_high", correlation.high, display=False)
glue("importance_delta", importance_delta.value, display=False)
against = {
    (layer, column): (estimate, source[layer, f"{column.removesuffix('random')}chance"])
    for (layer, column), estimate in source.items()
    if column.endswith(": random")
    and column.startswith(("labels", "another network", "autoencoder", "pixels"))
    and not layer.startswith("pixels")
}
glue("num_against_chance", len(against), display=False)
by_seed = [
    estimate.value
    for (layer, column), estimate in (tables.recorded_estimates("units") or replicas).items()
    if "seed" in layer and column == "another network: delta, random"
]
glue("num_seeds", len(by_seed), display=False)
glue("seeds_low", min(by_seed), display=False)
glue("seeds_high", max(by_seed), display=False)
glue("seeds_mean", sum(by_seed) / len(by_seed), display=False)
glue("num_above_chance", sum(mixed.low > by_chance.high for mixed, by_chance in against.values()), display=False)

# %% [markdown]
# {glue:text}`source`, Spearman's correlation of a unit's agreement in label with the rise in loss is
# {glue:text}`correlation:+.2f` [{glue:text}`correlation_low:+.2f`, {glue:text}`correlation_high:+.2f`]. Cliff's delta
# of the rise, units against random directions, is {glue:text}`importance_delta:+.2f`.
#
# ## What remains
#
# "No distinction" is a statement about Gaussian directions in the scale that training happened to leave, about a layer,
# and about what one asks of a row. For those, and at the limit that we had set, it {glue:text}`outcome`
# ({numref}`tab-verdict`). Three more observations belong beside it. Over {glue:text}`num_seeds` seeds of Conv, the one
# above among them, delta in the eyes of another network runs from {glue:text}`seeds_low:+.2f` to
# {glue:text}`seeds_high:+.2f`, with a mean of {glue:text}`seeds_mean:+.2f` ({numref}`tab-seeds`); above 0 units agree
# more. With means over maps instead of maxima AlexNet's filters have other deltas, given above. And as a whole,
# {glue:text}`rotated_words` ({numref}`tab-rotations`).
#
# That random directions are *also* meaningful, that their pictures agree more than pictures drawn at random, holds for
# {glue:text}`num_above_chance` of the {glue:text}`num_against_chance` comparisons of this page.
#
# Limits: one architecture of our own for MNIST; for ImageNet no fully connected layer, which the paper may have used,
# and pictures that the networks may have been trained on. Intervals are over units and directions, for given images
# and a given network. Agreement is the mean over pairs: a row that shows two things equally well scores low.
#
# ## Check

# %%
for name, looked in studies.items():
    assert all(values.isfinite().all() for judge in looked.agreement.values() for values in judge.values()), name
assert cells["Conv, logits", "labels: units"].value > cells["Conv, logits", "labels: random"].value
first, shifted = (
    units.top_activating(units.responses(values, study.directions["random"] @ spread_out), settings.k, generator)
    for values, generator in ((phi, seeds.generator(seed)), (phi + 1, seeds.generator(seed)))
)
same = (first == shifted).float().mean()
assert same > 0.99, "centring must not matter"

# %% tags=["remove-cell"]
if run.records:
    overlap = {
        f"{row}, {judge}": float(cells[row, f"{judge}: random"].low <= cells[row, f"{judge}: chance"].high)
        for row, judge in parts
    }
    against_chance = "agreement of random directions against chance: " + ", ".join(
        f"{row}, {judge} {cells[row, f'{judge}: random'].value:.3f} against {cells[row, f'{judge}: chance'].value:.3f}"
        for row, judge in parts
    )
    in_words = ", ".join(
        f"{row}, {judge} {e.value:+.2f} [{e.low:+.2f}, {e.high:+.2f}]" for (row, judge), e in delta.items()
    )
    literal = {
        judge: source["Conv, convolution", f"{judge}: delta, random"].value for judge in ("labels", "another network")
    }
    in_words += f"; {num_inside} of these intervals lie wholly within the limit"
    in_words += "; beyond the criterion: Conv's convolution, unit by unit, " + ", ".join(
        f"{judge} {value:+.2f}" for judge, value in literal.items()
    )
    in_words += f"; Conv from each of {len(by_seed)} seeds, another network " + ", ".join(
        f"{value:+.2f}" for value in by_seed
    )
    if not lacking:  # one network alone is not what the claims are about
        claims.record_claim("random-meaningful", overlap, against_chance)
        means = [source["AlexNet, conv5, mean over the map", f"{judge}: delta, random"].value for _, judge in parts[:2]]
        in_words += "; AlexNet with means over maps {:+.2f} and {:+.2f}".format(*means)
        claims.record_claim("no-distinction", sizes, f"Cliff's delta of units against random directions: {in_words}")
        best = {
            layer: {
                "units": looked.live.nonzero()[:, 0].tolist(),
                "liked by units": looked.top["units"][:, : settings.k].tolist(),
                "liked by random directions": looked.top["random"][:, : settings.k].tolist(),
            }
            for layer, looked in studies.items()
            if layer
            in ("Conv, hidden layer", "Conv, convolution", *(f"{row}{name}" for row in networks for name in sets))
        }
        tables.write_atomically(tables.RESULTS / "units_top.json", json.dumps(best) + "\n")
run.finish()
