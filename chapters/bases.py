# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Bases
#
# :::{answer}
# :::
#
# "It is the space, rather than the individual {term}`units <unit>`, that contains the semantic information": so the paper sums up what
# the [last chapter](units) measured, one unit against one random direction at a time. Here the question is asked of
# all units together. A layer's {term}`activations` are vectors, and vectors do not come with axes. The network's units are one
# choice of axes. Is it a special one?
#
# Network Dissection {cite:p}`bau2017network` answers yes. It rotated AlexNet's conv5 at random and counted how many
# distinct concepts, marked by people in segmented images, still had a unit of their own; some 80 % were lost. That is
# the clearest evidence *against* "no distinction". We have no segmentations, but can ask the same with what we have: do
# the ten images that each axis likes best agree, in the eyes of labels and of another network?

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
import torch
from IPython.display import Markdown
from myst_nb import glue

from lib.data import downloads
from lib.experiments import digits, layers, photographs, seeds
from lib.figures import comparisons
from lib.measures import bases, effects, intervals, units
from lib.record import claims
from lib.record.markdown import signed, span, tell

run = digits.begin("bases", profile, data, device, seed)
settings = run.profile.units
glue("dataset", run.train.name, display=False)
Markdown(run.banner)

# %% mystnb={"markdown_format": "myst"}
there, lacking = downloads.gather(photographs.WANTED, download=profile == "paper")
found = layers.of_digits(run) | layers.of_photographs(run, there)
looked = {
    name: layers.look(run, found[name]) for name in layers.FOR_BASES if name in found
}
Markdown(downloads.banner(there, lacking))

# %% [markdown]
# ## A random direction is not one thing
#
# Multiply a rectified unit by 2 and halve its outgoing weights: the network computes what it did before. Its units' rows
# stay as they are, since a row depends on the order of a unit's responses only; but Gaussian directions now hear this unit
# twice as loudly. So the answer to the paper's question depends on a choice that means nothing to the network.

# %%
hidden, study = found["Conv, hidden layer"], looked["Conv, hidden layer"]
phi, v = hidden.activations[:, study.live], study.directions["random"]
louder = phi * torch.logspace(-1, 1, phi.shape[1])


def liked(scores):
    return units.top_activating(scores, settings.k, seeds.generator(seed))


assert torch.equal(liked(louder.T), liked(phi.T)), "scale must not matter to units"
assert not torch.equal(liked(v @ louder.T), liked(v @ phi.T)), "to mixtures it does"

# %% [markdown]
# Gaussian directions in the scale that training happened to leave are the paper's choice. There are others:
#
# - *random, positive*: mixtures without negative weights, since rectified units never fire negatively;
# - *random, equal scales*: Gaussian after every unit is divided by its standard deviation;
# - *random, whitened axes*: Gaussian mixtures of the leading principal axes, {glue:text}`num_axes` at most in
#   this build, each divided by its standard deviation, so that no correlations are left either;
# - *PCA* and *ICA* {cite:p}`hyvarinen2000independent`: the axes of largest variance, and those whose responses are least
#   Gaussian. Axes and scales come from other images, and each axis gets the sign of its longer tail. Fitted to few
#   images, as in a quick build, they are mostly noise.

# %%
against = {
    name: layers.look_at_axes(run, found[name], one, seed)
    for name, one in looked.items()
}
cells = layers.cells(run, looked) | layers.cells(run, against)

# %% mystnb={"figure": {"caption": "How far the ten best images of each unit and each direction agree in the eyes of four judges; Conv's last hidden layer, this build. Boxes are quartiles, diamonds means: the more two boxes overlap, the less a row tells of its kind.", "name": "fig-agreement"}, "image": {"alt": "Box plots in four panels, one for each judge, with a box for units and one for each family of directions."}}
boxes = {
    judge: study.agreement[judge] | others
    for judge, others in against["Conv, hidden layer"].agreement.items()
}
comparisons.agreements(boxes, "Do the pictures in a row agree?")

# %% [markdown]
# ## Rotating the whole basis
#
# A single vector of a random rotation is a Gaussian direction in all but length. What is new when all axes are turned at
# once is the null hypothesis: *this basis is one of the rotations*. A p-value is the share of rotations whose mean
# {term}`agreement` is as far from the middle as that of the {term}`natural basis`, which counts among them.

# %%
for name in [name for name in units.LAST if name in looked]:
    drawn = layers.rotations(run, found[name], looked[name])
    cells |= bases.rotation_cells(name, looked[name], drawn)
    labels = found[name].images.labels.cpu()
    both = [looked[name], against[name]]
    cells |= bases.detector_cells(name, both, labels, settings.k)

# %% [markdown]
# Counting detectors is closer still to Network Dissection: how many classes have an axis most of whose
# {glue:text}`k` images are theirs? So that nobody profits from sheer numbers, we count among as many directions as the
# smallest family has, on average over all ways to choose them.
#
# ## Does it matter to the network?
#
# Morcos et al. {cite:p}`morcos2018importance` removed single units and found that the class-selective ones matter no more
# than others. Here is their question for Conv: by how much does the loss rise when a unit, or a random direction, is
# projected out of the hidden layer, and does agreement foretell it?

# %%
head = run.trained("Conv").network.classifier[1].cpu()
labels = hidden.images.labels.cpu()
axes = torch.eye(len(study.live))[study.live]  # a row for each live unit
harm = {
    "units": bases.importance(hidden.activations, head, labels, axes),
    "random": bases.importance(hidden.activations, head, labels, v[:200] @ axes),
}
cells |= bases.importance_cells(
    "Conv, hidden layer",
    harm,
    study.agreement["labels"],
    settings.num_draws,
    seeds.generator(run.seeds.resampling),
)

# %% [markdown]
# ## The numbers

# %% mystnb={"figure": {"caption": "Cliff's delta of units against every family of directions, judged by another network, with 95 % bootstrap intervals over units and directions, in one network each; Conv's is that of one seed. In the grey band a difference counts as negligible. Recorded at the paper's scale, or else this build's.", "name": "fig-families"}, "image": {"alt": "Effect sizes with intervals by layer, one mark for each family of directions, and a band of negligible ones around zero."}}
table = run.table("units", cells)
told, said = table.told, table.estimates
families = {name: f"another network: delta, {name}" for name in bases.FAMILIES}
shown = units.arranged(said, layers.FOR_BASES, families)
title = "Are units special? It depends on the rival"
comparisons.effect_sizes(shown, claims.limit("no-distinction"), title)

# %% [markdown]
# {glue:text}`source`, in Conv's last hidden layer and in the eyes of another network, delta against Gaussian directions
# is {glue:text}`delta_random`. Bring all units to the same standard deviation, and it is {glue:text}`delta_scaled`;
# remove correlations as well, and it is {glue:text}`delta_white`, since such mixtures are made mostly of axes along which
# activity hardly varies.
#
# All three are of one network, Conv from {term}`seed <seeds>` {glue:text}`seed_name`, and this seed may be a mild one. The [last
# chapter](units) trains Conv from several ({term}`recorded`: {glue:text}`num_seeds`): against Gaussian directions in the scale that
# training left, their deltas have the mean {glue:text}`seeds_mean` and the range {glue:text}`seeds_range`. The other scales
# were not tried on them. So this much can be said: what is found depends on the scale that directions are drawn in,
# and a {term}`verdict` on "no distinction" for Gaussian directions in one scale need not hold in another.
#
# Learning is not needed for such differences: in the untrained network, whose units nobody would call concepts, delta is
# {glue:text}`untrained_scaled` against directions of equal scales. And there may be better axes than the units: against
# independent components it is {glue:text}`delta_ica`, and where that is negative, *their* rows agree more than those of
# units. That the natural basis is not special would not mean that no basis is.

# %% mystnb={"markdown_format": "myst"}
columns = [
    f"{judge}: {what}"
    for judge in units.JUDGES
    for what in ("units", "rotations", "p, rotations")
]
rows = [name for name in units.LAST if name in table.rows]
caption = (
    "Mean agreement over the natural basis and over its random rotations, "
    "and how often one of these is as far out; Conv's of one seed."
)
show = {"name": "tab-rotations", "rows": rows, "index": "layer"}
Markdown(table.show(columns, caption=caption, **show))

# %% tags=["hide-input"]
p = {judge: bases.joint_p(told, judge) for judge in units.JUDGES}
tests, networks = bases.num_tests(told), bases.num_rotated(told, "labels")
ends = [{cell: e[end] for cell, e in said.items()} for end in (1, 2)]  # low, high
around = [bases.joint_p(each, "another network") for each in ends]
around = [effects.bonferroni(end, tests) for end in around]
adjusted = effects.bonferroni(p["another network"], tests)
ahead, cases = bases.num_above_rotations(told)
tell(source=table.source, k=settings.k, num_axes=settings.num_axes)
tell(num_ahead=ahead, num_cases=cases, num_networks=networks, num_tests=tests)
tell(p_network=(p["another network"], ".3f"), p_labels=(p["labels"], ".3f"))
tell(p_adjusted=(adjusted, ".3f"), p_range=span(around, ".3f"))
tell(can_be_told=effects.can_be_told(adjusted))

# %% [markdown]
# {glue:text}`source`, in {glue:text}`num_ahead` of {glue:text}`num_cases` cases the natural basis agrees more than its
# rotations do on average. Fisher's method asks of all networks that were rotated, {glue:text}`num_networks` in number,
# whether every natural basis is one of its rotations: p is {glue:text}`p_network` in the eyes of another network and
# {glue:text}`p_labels` in those of labels. These two, and one test of units against directions for each network and {term}`judge`,
# make {glue:text}`num_tests`; multiplied by their number, the former is {glue:text}`p_adjusted`. The single p-values of
# the table are not counted among them.
#
# Taken at its face value and at the level of 5 %, the natural basis {glue:text}`can_be_told` be told from its rotations by
# another network's eye. That is a hint and no more. Each single p-value is a share of a few hundred rotations; with
# the lower, or the upper, ends of their 95 % {term}`intervals <interval>` in its place the adjusted one is {glue:text}`p_range`. We thought of
# the joint test only with the single values in view, and a test that is chosen late deserves less trust than one that
# was promised. Each network is a single seed. And a difference that can be told need not be large: compare the columns
# of the table. Network Dissection, with segmentations and many more pictures, lost most of its concepts to a
# rotation.

# %% mystnb={"markdown_format": "myst"}
columns = [f"detected: {name}" for name in ("units", "random", "ICA", "chance")]
caption = "Classes with a detector among as many directions of each kind."
show = {"name": "tab-detectors", "rows": rows, "index": "layer"}
Markdown(table.show(columns, caption=caption, **show))

# %% tags=["hide-input"]
row = "Conv, hidden layer"
family = {name: told[row, column] for name, column in families.items()}
tell(delta_random=(family["random"], "+.2f"), delta_ica=(family["ICA"], "+.2f"))
by_seed = units.by_seed(said, "another network")
seeds_mean = intervals.mean(by_seed).value if by_seed else torch.nan
tell(seed_name=str(0 if table.recorded else seed), num_seeds=len(by_seed) or "none")
tell(seeds_mean=(seeds_mean, "+.2f"), seeds_range=span(by_seed, "+.2f"))
tell(delta_scaled=(family["random, equal scales"], "+.2f"))
tell(delta_white=(family["random, whitened axes"], "+.2f"))
untrained = told["Conv untrained, hidden layer", families["random, equal scales"]]
tell(untrained_scaled=(untrained, "+.2f"))
correlation = said.get((row, "importance: rank correlation, units"), effects.UNMEASURED)
tell(correlation=signed(correlation))
tell(importance_delta=(told[row, "importance: delta, random"], "+.2f"))

# %% [markdown]
# Such counts decide nothing where only a handful of classes have a detector, nor where every kind of direction finds them
# all.
#
# Does agreement tell what the network needs? {glue:text}`source`, Spearman's correlation of a unit's agreement in
# label with the rise in loss is {glue:text}`correlation`; an interval around 0 gives
# no sign that it does. {term}`Cliff's delta` of the rise, units against random directions, is {glue:text}`importance_delta`.
#
# ## What remains
#
# Is the natural basis special? It depends on the rivals first: on the scale that random directions are drawn in, which
# means nothing to the network ({numref}`fig-families` has this layer by layer, also where nothing was learned). It depends
# on the judge. And it depends on whether one asks how large a difference is or whether there is any: the verdict on "no
# distinction" in the [last chapter](units) answers the former for single directions, the rotations give a hint of the
# latter for whole bases. The two
# do not contradict each other, and neither is what Network Dissection measured.
#
# ## Check

# %%
silenced = hidden.activations.clone()
silenced[:, study.live.nonzero()[0, 0]] = 0
losses = [
    torch.nn.functional.cross_entropy(head(values), labels)
    for values in (silenced, hidden.activations)
]
assert abs(losses[0] - losses[1] - harm["units"][0]) < 1e-4

Q = bases.random_rotation(phi.shape[1], seeds.generator(seed))
assert torch.allclose(Q @ Q.T, torch.eye(len(Q)), atol=1e-4), "a rotation keeps lengths"

# %% [markdown]
# ## Exercises
#
# **1. White.** Let the principal axes be divided by their standard deviations. Show that responses to a mixture $v$ of them have
# the variance $\lVert v \rVert^2$, whichever $v$. What does such a direction hear most of?
#
# :::{dropdown} Solution 1
# Responses to the axes are uncorrelated, and so divided each has variance 1: their sum with weights $v_i$ has
# $\sum_i v_i^2$. All axes are heard alike, and most of them are axes along which activity hardly varied before.
#
# ```python
# samples = hidden.samples(settings.num_samples)[:, study.live]
# white = bases.principal_axes(samples, settings.num_axes, seed).whitened
# covariance = torch.cov((samples @ white.T).T)
# assert (covariance - torch.eye(len(white))).abs().max() < 0.02
# ```
# :::
#
# **2. The smallest p.** With $R$ rotations, how small can the p-value of a basis be? How many does it take for one of $n$ tests to
# pass at the level $\alpha$ after it is multiplied by $n$?
#
# :::{dropdown} Solution 2
# The natural basis counts among them: $1 / (R + 1)$. Multiplied by $n$ that is at most $\alpha$ from $R = n / \alpha - 1$ on, for
# eight tests at 5 % from 159 on.
#
# ```python
# drawn = torch.randn(159, generator=seeds.generator(seed))
# least = effects.randomisation_test(1000.0, drawn).value
# assert abs(effects.bonferroni(least, 8) - 0.05) < 1e-9
# ```
# :::
#
# **3. A little rotation.** Rotate the basis by more and more, from not at all to as far as chance does: how many of the images in a
# unit's row stay in it? Is there a step at which the units are lost?
#
# :::{dropdown} Solution 3
# Without rotation all of them stay. If there were a step, units would be things apart; where the share falls little by little,
# a direction near a unit likes nearly what the unit likes.
#
# ```python
# turn = torch.randn(phi.shape[1], phi.shape[1], generator=seeds.generator(seed))
# rows = liked(phi.T)
# for step in (0, 0.01, 0.03, 0.1, 1):
#     Q, R = torch.linalg.qr(torch.eye(len(turn)) + step * turn)
#     turned = liked((Q * R.diagonal().sign()).T @ phi.T)
#     kept = (turned[:, :, None] == rows[:, None]).any(dim=2).float().mean()
#     print(f"{step}: {100 * kept:.0f} % stay")
# ```
# :::

# %% tags=["remove-cell"]
run.finish()
