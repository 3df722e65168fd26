# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A network that was never told what a car is
#
# :::{answer}
# :::
#
# Perhaps labels are to blame. Whoever trains a network to tell cars from boats asks it for a boundary, and a boundary can
# be crossed. So take a network that has seen pictures and nothing else: no classes, no boundary, only the order to keep
# what a picture can be restored from. Then let a single linear layer read off its last features whether there is a car.
# The paper's Figure 6 does that with the most famous network of its day, the one with a billion connections that had
# found cats on YouTube {cite:p}`le2012building`. Its cars can be made to vanish, too.
#
# That network was trained on 16,000 cores and is not to be had. Here its architecture is built anew, at the sizes of 2012 on
# paper and at sizes that two cores can train. Are its features worth anything? How far must a car be moved until it is
# none? And does what fools it fool a network that does know labels?

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
from IPython.display import Markdown
from myst_nb import glue

from lib.data import downloads
from lib.experiments import cars, digits
from lib.figures import comparisons, curves, grids
from lib.networks import local_filters, quocnet
from lib.record.markdown import tell

run = digits.begin("quocnet", profile, data, device, seed)
found, missing = downloads.gather(cars.WANTED, download=profile == "paper")
scale = run.profile.cars
material = cars.material(found, run.train, scale, run.seeds.split)
glue("dataset", material.source, display=False)
Markdown(run.banner + downloads.banner(found, missing))

# %% [markdown]
# ## Three stages, no weight shared
#
# A convolution has one set of filters for all places of an image. QuocNet has filters of its own at every place: a small
# square of the image is seen by eight filters, the square one pixel further by eight others. What they answer is pooled,
# $p = \sqrt{\epsilon + \sum_j h_j^2}$ over a small neighbourhood of each map, and the pools' contrast is normalised:
# their local mean is subtracted, and what is left divided by its local deviation $\sigma$, unless that is below a small $c$,
#
# $$ y = \frac{p - \bar p}{\max(c, \sigma)} . $$
#
# Such a stage sees the maps of the one before it. Three of them are the network. How many connections is that?

# %%
sizes = {"Le et al. 2012": quocnet.LE, "here": material.config}
connections = {name: quocnet.num_connections(config) for name, config in sizes.items()}
tell(connections_then=(connections["Le et al. 2012"], ",.0f"))
tell(connections_here=(connections["here"], ",.0f"))
tell(
    side_here=material.config.side, features_here=(material.config.num_features, ",.0f")
)

# %% [markdown]
# {glue:text}`connections_then` at the sizes of 2012 (images of 200 × 200 pixels, fields of 18 × 18), which is the "billion" of
# the paper. Ours, for images {glue:text}`side_here` pixels a side, has {glue:text}`connections_here`. What comes out are
# {glue:text}`features_here` features. Since no weight is shared each connection is a weight of its own.
#
# ## Learning to restore
#
# Every stage learns alone, from what the stages before it give, by *{term}`reconstruction ICA`*. Filters $W_1$ look at an image
# $x$; other weights $W_2$ must restore the image from their answers; and pools shall be quiet:
#
# $$
# \min_{W_1, W_2} \; \mathbb{E} \, \lVert W_2 W_1^\top x - x \rVert^2
# + \lambda \sum_k \sqrt{\epsilon + H_k (W_1^\top x)^2} , \qquad \lambda = 0.1 ,
# $$
#
# where $H_k$ sums over the $k$-th pool. Not a word about cars. The cost of one image under the first filters, which are
# random, and its two parts:

# %%
untrained = cars.untrained(material, run.seeds.init)
maps = untrained.below(material.unlabelled[:1].unflatten(1, material.shape), 0)
filters = untrained.stages[0].filters
answers = local_filters.respond(maps, filters)
restored = local_filters.spread(answers, filters)
error = (restored - maps).square().sum()
price = 0.1 * quocnet.pooled(answers, material.config.pool).sum()
cost = quocnet.rica_cost(maps, filters, filters, material.config.pool, sparsity=0.1)
assert abs(cost - error - price) < 1e-3 * cost

# %% [markdown]
# One thing has to be added to the formula. As it stands the price can be evaded: make $W_1$ small and $W_2$ large, and pools
# are quiet at no loss. The filters in $W_1$ are therefore kept at unit length.

# %%
network, costs = cars.learned(material, scale, run.seeds, run.store)
once, _ = cars.learned(cars.normalized_once(material), scale, run.seeds, run.store)
told_costs = run.table("quocnet_costs", cars.costs_told(costs))

# %% [markdown]
# :::{more} The cost while it learns, and filters before and after
# :::

# %% mystnb={"figure": {"caption": "The cost of each stage while it learns, as a share of its cost at the beginning; as recorded, else of this build.", "name": "fig-rica"}, "image": {"alt": "Three falling curves, one for each stage, against the share of the training."}} tags=["hide-input"]
title = "Every stage learns to restore what it sees"
curves.learning(
    cars.relative_costs(told_costs.told), "cost, relative to the start", title
)
# %% mystnb={"figure": {"caption": "Filters of the first stage in this build, before and after; mid-grey is zero.", "name": "fig-local-filters"}, "image": {"alt": "Two blocks of small squares: random colours on the left, on the right what they became."}} tags=["hide-input"]
shown = {"at the start": untrained, "learned": network}
panels = {name: {"": cars.first_filters(each, 15)} for name, each in shown.items()}
grids.picture_rows(panels, "What the first filters look for")
# %% [markdown]
# ## Is there a car?
#
# Now labels come in, for the first time and for one linear layer only. Half of the images show what is looked for, half do
# not. The same layer, with its decay chosen in the same way, is put on the features of the same network before it learned
# anything, on the raw pixels, and on as many random projections of these as the network has features. A second QuocNet
# learned without one part, the normalisation behind its stages ("normalised once", in its pixels); why, the next section
# tells. Where its weights are there, SqueezeNet, which was trained on such labels, is asked as well.

# %%
networks = {cars.QUOCNET: network, cars.ONCE: once}
answering = cars.judges(material, networks, found, scale, run.seeds, run.store)
accuracy = cars.accuracy(material, answering)
units, best = cars.single_units(material, cars.bases(answering))

# %%
under_attack = cars.turned(material, answering, scale, run.store)
lengths = cars.lengths(answering, under_attack, run.seeds.noise)
table = run.table("quocnet", accuracy | units | lengths)

# %% mystnb={"markdown_format": "myst"}
columns = ["accuracy (%)", "ahead of pixels (points)", "best unit (%)"]
caption = (
    "How often each classifier is right, and how often the best single unit would be."
)
Markdown(table.show(columns, caption=caption, name="tab-cars", index="classifier"))

# %% tags=["hide-input"]
told = table.told
tell(cars_source=table.source)
tell(right=(told[cars.QUOCNET, "accuracy (%)"], ".1f"))
tell(right_pixels=(told[cars.PIXELS, "accuracy (%)"], ".1f"))
tell(right_once=(told[cars.ONCE, "accuracy (%)"], ".1f"))
tell(right_untrained=(told[cars.UNTRAINED, "accuracy (%)"], ".1f"))
tell(unit=(told[cars.QUOCNET, "best unit (%)"], ".1f"))

# %% [markdown]
# {glue:text}`cars_source`, the classifier is right in {glue:text}`right` % of cases on QuocNet's features, on raw pixels in
# {glue:text}`right_pixels` %, on the features of the network that is normalised once in {glue:text}`right_once` %. The
# best single unit, chosen with its threshold on the images that the classifier learned from and judged on others, is right in
# {glue:text}`unit` %, where a coin would have 50. Le and his colleagues report 81.7 % for their best face unit and 74.8 % for
# their best cat unit, on images of their own. On the features of the network that has learned nothing the classifier is right in
# {glue:text}`right_untrained` %.

# %% [markdown]
# :::{more} What the best unit likes
# :::

# %% mystnb={"figure": {"caption": "The ten test images of this build that the best unit responds to most; it was chosen on other images.", "name": "fig-favourites"}, "image": {"alt": "Ten small pictures in two lines, or digits where this build has no pictures."}} tags=["hide-input"]
favourites = {
    name: {"": cars.favourites(material, answering[name].base, best[name], 10)}
    for name in (cars.QUOCNET, cars.UNTRAINED)
}
grids.picture_rows(favourites, "What the best unit likes")
# %% [markdown]
# ## What depth does
#
# Put the linear layer behind the first stage, behind the second, behind the third. And change one thing at a time: the
# sizes, the price of loud pools, the number of images, the normalisation of contrast.

# %%
learners = cars.variants(material, scale)
depth = run.table("quocnet_depth", cars.by_depth(learners, run.seeds, run.store))

# %% mystnb={"markdown_format": "myst"}
caption = "How often a linear layer is right (%) behind each stage of each QuocNet."
Markdown(depth.show(caption=caption, name="tab-depth", index="learned from"))

# %% tags=["hide-input"]
shown = {
    name: [depth.told[name, f"behind stage {number} (%)"] for number in (1, 3)]
    for name in list(learners)[:2]
}
(first, last), (_, last_once) = shown.values()
tell(depth_source=depth.source, first=(first, ".1f"), last=(last, ".1f"))
tell(last_once=(last_once, ".1f"))

# %% [markdown]
# {glue:text}`depth_source`, a linear layer is right in {glue:text}`first` % of cases behind the first stage and in {glue:text}`last` %
# behind the third; in {glue:text}`last_once` % where no contrast is normalised behind stages. Why would that matter? A pool is
# a length. Around a large mean $m$ a length is nearly linear, $\lVert m + \delta \rVert \approx \lVert m \rVert + m^\top \delta /
# \lVert m \rVert$; around zero it is even, and signs are lost. Pools are positive and have such a mean. Normalising takes it
# away, and the next stage may lose signs once more. That is our guess; what the table shows is that more is left without it.
# How much of what the first stage has gained is learned, and how much is contrast and pooling, we have not measured.
# Every stage saw every image once, and its cost was still falling; the network of 2012 saw ten million pictures.
#
# ## Figure 6
#
# Take test images that a classifier recognises, and look for the nearest image that it does not.

# %% mystnb={"figure": {"caption": "Figure 6, with this build's pictures. In each line: recognised, no longer recognised, and the size of the difference, each at the scale of its own largest value.", "name": "fig-vanished"}, "image": {"alt": "Rows of three pictures: two that look the same, and a dark one with bright specks where they differ."}}
panels = {
    name: cars.panel(material, made, num=3)
    for name, made in under_attack.items()
    if name == cars.QUOCNET
}
grids.triples(panels, "Left: recognised. Middle: not any more")
# %% mystnb={"markdown_format": "myst"}
columns = [
    "success (%)",
    "distortion",
    "tight distortion",
    "turned by noise as long (%)",
]
caption = (
    "Both attacks on what each classifier recognises, and noise of the same length."
)
Markdown(table.show(columns, caption=caption, name="tab-vanished", index="classifier"))

# %% tags=["hide-input"]
tell(vanished=(told[cars.QUOCNET, "success (%)"], ".0f"))
levels = {name: 255 * told[name, "distortion"] for name in cars.bases(answering)}
tell(vanished_levels=(levels[cars.QUOCNET], ".2g"))
tell(vanished_pixels=(levels[cars.PIXELS], ".2g"))
tell(vanished_once=(levels[cars.ONCE], ".2g"))
tell(vanished_untrained=(levels[cars.UNTRAINED], ".2g"))

# %% [markdown]
# {glue:text}`cars_source`, {glue:text}`vanished` % are turned. On average it takes a {term}`distortion` of
# {glue:text}`vanished_levels` of a byte's 255 levels on QuocNet's features; on raw pixels, where the classifier is a plane, it
# takes {glue:text}`vanished_pixels`.
#
# ## Where it grows
#
# Follow the difference through the network. How long is it behind each stage, over its length in pixels? Beside it noise
# that is as long in pixels.

# %% mystnb={"markdown_format": "myst"}
grown = run.table("quocnet_growth", cars.growth(network, under_attack, run.seeds.noise))
caption = "Length of a difference over its length in pixels, means over images."
Markdown(grown.show(caption=caption, name="tab-growth", index="behind"))

# %% tags=["hide-input"]
adversarial, noise = (
    grown.told["stage 3", column] for column in ("adversarial", "noise as long")
)
tell(grown_source=grown.source, grown=(adversarial, ".0f"), grown_noise=(noise, ".0f"))
tell(dark=f"{quocnet.DARK:g}", most=f"{1 / quocnet.DARK:g}")

# %% [markdown]
# {glue:text}`grown_source`, behind the last stage the attack's difference is {glue:text}`grown` times as long as in pixels, and
# noise's {glue:text}`grown_noise` times. One of the parts can make a difference much longer by itself: where a picture is flat
# its local deviation is small, and what is divided by it is blown up, at most {glue:text}`most` times, since Le and his
# colleagues stop at a deviation of {glue:text}`dark`, as we do.
#
# ## Who else no longer sees it?
#
# Little travels at the paper's scale, but from pixels to their own random projections: what QuocNet no longer sees the others still do, and what was made for pixels
# turns both QuocNets no more often than noise as long. Of SqueezeNet little can be said, which recognises few of the cars.
#
# :::{more} What was made for one, shown to another
# :::

# %%
transfer = run.table(
    "quocnet_transfer", cars.transfers(answering, under_attack, run.seeds.noise)
)

# %% mystnb={"figure": {"caption": "Of the images that both recognise: how many (%) each classifier no longer does, of those made for each, and with noise as long. As recorded, else of this build.", "name": "fig-cars-transfer"}, "image": {"alt": "Two tables of per cents, bright on the diagonal of the first."}} tags=["hide-input"]
names = list(answering)
panels = cars.beside_noise(transfer.told, names)
comparisons.matrices(panels, "What was made for one, shown to another")
# %% [markdown]
# ## What surprised us
#
# That it takes so little: at the paper's scale hardly more than one pixel's red moved by a single level, were all of it put
# there. (Whether it survives being saved as bytes we have not asked.) And that learning is not needed for it. Untrained filters
# are turned by {glue:text}`vanished_untrained` levels, the network that is normalised once by {glue:text}`vanished_once`. All
# three first divide a picture by its contrast, which may be part of it ({numref}`tab-growth`); not all, for SqueezeNet, which does
# no such thing, takes less than ten times as much ({numref}`tab-vanished`).
#
# ## The claims

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
Markdown(run.verdicts())

# %% [markdown]
# ## Exercises
#
# **1. What sharing saves.** How many weights would the network of 2012 have if each stage used the same eight filters at all
# places, as a convolution does? How many times fewer is that?
#
# :::{dropdown} Solution 1
# A filter sees 18 × 18 pixels of every map below it, three at the bottom and eight above: $8 \cdot 18^2 \cdot (3 + 8 + 8)$
# weights. A stage has one set of filters a place, so that it has as many times more as there are places.
#
# ```python
# config = quocnet.LE
# below = [num_maps for num_maps, _ in config.stage_shapes()[:-1]]
# shared = config.num_maps * config.field**2 * sum(below)
# assert shared == 8 * 18**2 * (3 + 8 + 8)
# quocnet.num_connections(config) / shared
# ```
# :::
#
# **2. How to evade a price.** Multiply all filters in $W_1$ by $t < 1$ and divide those in $W_2$ by $t$. What becomes of the two
# parts of the cost? What does the cost tend to as $t$ goes to 0?
#
# :::{dropdown} Solution 2
# $W_2 W_1^\top x$ stays, and with it the error. A pool becomes $\sqrt{\epsilon + t^2 H}$, which falls with $t$ to
# $\sqrt \epsilon$: the cost tends to the error and next to nothing, and quiet pools mean nothing. So the length of $W_1$ has to
# be held.
#
# ```python
# pool, costs = material.config.pool, []
# for t in (1, 0.1, 0.01):
#     shrunk = t * filters, filters / t
#     costs.append(float(quocnet.rica_cost(maps, *shrunk, pool, sparsity=0.1)))
# assert costs == sorted(costs, reverse=True)
# ```
# :::
#
# **3. A higher price.** Show: if $W$ is best for $\lambda$ and $W'$ for a larger $\lambda'$, then the pools of $W'$ are at most as
# loud, and it restores at most as well. Then let the first stage learn with $\lambda = 1$ in place of 0.1 and see.
#
# :::{dropdown} Solution 3
# With errors $E, E'$ and pools $P, P'$ we have $E + \lambda P \le E' + \lambda P'$ and
# $E' + \lambda' P' \le E + \lambda' P$. The sum of both says $(\lambda' - \lambda)(P' - P) \le 0$, so $P' \le P$, and then the
# first says $E' \ge E$.
#
# ```python
# from dataclasses import replace
#
# images, loud = material.unlabelled.unflatten(1, material.shape), []
# for price in (0.1, 1.0):
#     rica = replace(scale.rica, sparsity=price)
#     fitted = quocnet.fit_stage(untrained, 0, images, rica, run.seeds.batches)
#     answers = local_filters.respond(untrained.below(images[:50], 0), fitted.filters)
#     loud.append(float(quocnet.pooled(answers, material.config.pool).mean()))
# assert loud[1] < loud[0]
# ```
# :::

# %% tags=["remove-cell"]
run.finish()
