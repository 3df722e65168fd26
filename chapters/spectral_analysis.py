# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is it in the weights?
#
# :::{answer}
# :::
#
# Every network of this book can be fooled, and by small changes. One suspects that somewhere on the way to the
# {term}`logits` a small difference becomes a large one. Could we have known beforehand, without attacking anything,
# from the weights alone? The paper's last section looks there. It asks of every layer how much it can stretch what it
# is given, and finds numbers well above 1 from the first layer on (its Table 5).
#
# This chapter computes those numbers again, from real weights where there are any. On the way it corrects a formula and a
# claim about pooling, and asks what a large norm of the first layer says. What such bounds then *guarantee* is the [next
# chapter's](certificates) question.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"]
import torch
from IPython.display import Markdown
from myst_nb import glue
from torch import nn

from lib.data import downloads
from lib.experiments import digits, frame_bounds, seeds
from lib.figures import comparisons, curves
from lib.measures import spectral
from lib.measures.spectral import Convolution
from lib.networks import imagenet, mnist
from lib.record.markdown import span, tell

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
run = digits.begin("spectral_analysis", profile, data, device, seed)
glue("dataset", run.train.name, display=False)
Markdown(run.banner)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
found, missing = downloads.gather(frame_bounds.WANTED, download=profile == "paper")
partial = imagenet.absent(found["AlexNet"]) if "AlexNet" in found else {}
Markdown(downloads.banner(found, missing | partial))

# %% [markdown]
# ## How far a layer can stretch
#
# A layer $\phi(x) = \max(0, W x + b)$ takes the difference $r$ of two inputs to a difference of at most
#
# $$ \lVert \phi(x + r) - \phi(x) \rVert \le \lVert W r \rVert \le \lVert W \rVert \, \lVert r \rVert , $$
#
# because the {term}`rectifier` never enlarges a difference. $\lVert W \rVert$, the largest singular value of $W$, is the layer's
# **upper {term}`frame bound <frame bounds>`**; the **lower** one is the least of $\lVert W r \rVert / \lVert r \rVert$ over all
# $r \ne 0$. Every difference that arrives leaves with a length between the two times its own, before the rectifier. A chain
# of layers stretches at most by the product of its upper bounds. A {term}`sigmoid` does better than a rectifier: its slope is never above 1/4.
#
# For our own networks all of this is a few singular value decompositions. A thousand random differences stay below the
# bound of a layer, and well below it: the direction that is stretched most is one among many.

# %%
trained = {name: run.trained(name) for name in [*mnist.TABLE1, "Conv"]}
layers = frame_bounds.of_digits({name: t.network for name, t in trained.items()})
weight = layers["100-100-10, layer 1"].weight
drawn = torch.randn(784, 1000, generator=seeds.generator(run.seeds.noise)).to(weight)
growth = (weight @ drawn).norm(dim=0) / drawn.norm(dim=0)
assert growth.max() <= spectral.dense_bounds(weight).upper

# %% mystnb={"markdown_format": "myst"}
own = run.table("mnist_bounds", frame_bounds.digits_bounds(layers, run))
caption = "Every layer of the digits' networks: ends of its spectrum, and lower bound."
columns = ["upper", "least", "lower"]
Markdown(own.show(columns, caption=caption, name="tab-own-bounds", index="layer"))

# %% [markdown]
# The last two columns differ, and this is worth a moment. The lower frame bound is the smallest ratio
# $\lVert W r \rVert / \lVert r \rVert$ over *all* $r$. A layer with more inputs than outputs must send some $r \ne 0$ to
# zero: its lower bound is 0 by shape alone, whatever was learned. Yet Table 5 prints lower bounds above 0 for layers of
# just that shape, among them 9216 × 4096 and 4096 × 1000. What it prints can only be the least of the singular values that a
# decomposition returns, of which there are as many as the shorter side has entries. That is a lower bound for the $r$ that
# the layer sees at all, and we call it *least*. The last version of the paper dropped the column.
#
# :::{more} What a lower bound means, and whole spectra
# :::
#
# A lower bound of zero is no defect. It says that different images may look alike to the network, which is what a
# classifier is for. An {term}`adversarial example` is the opposite: two images that look alike, and a layer that tells them apart.

# %% mystnb={"figure": {"caption": "All singular values of the layers of this build's networks for digits; of the convolution on a torus. Above the line at 1 a layer stretches.", "name": "fig-own-spectra"}, "image": {"alt": "Five panels of falling curves on a logarithmic axis, one curve for each layer."}}
curves.spectra(
    frame_bounds.digits_spectra(layers), "How far the digits' networks stretch"
)

# %% tags=["hide-input"]
tell(num_idle=frame_bounds.num_idle_directions(layers), num_networks=len(trained))

# %% [markdown]
# In {glue:text}`num_idle` of the {glue:text}`num_networks` networks of {term}`this build <in this build>` the last layer has nine large singular
# values and a tenth that is less than a third of the ninth. To add the same vector to all ten $w_k$ changes no softmax: the
# data say nothing about that direction, only the first weights and the decay do.

# %% [markdown]
# ## Convolutions: four lines
#
# The matrix of AlexNet's first convolution has 193,600 rows and 150,528 columns. Fourier shortens that. Put the image on a
# torus, so that the convolution wraps around at its edges. Let $\hat x$ and $\hat y$ be the unitary Fourier transforms of
# images and maps, but $\hat w(\omega) = \sum_p w_p e^{-i \omega \cdot p}$ that of a filter. With a stride of $D$ pixels, $C$
# channels $x_c$ and $F$ filters $w_{f,c}$, let $l$ run through the $D^2$ pairs of whole numbers from 0 to $D - 1$, and let
# $\hat x_\omega$ collect the $C D^2$ numbers $\hat x_c(\omega + 2 \pi l / D)$:
#
# $$
# \begin{aligned}
# \widehat{w_{f,c} * x_c}(\omega) &= \hat w_{f,c}(\omega) \, \hat x_c(\omega)
#   && \text{convolution becomes a product} \\
# \hat y_f(\omega) &= \tfrac{1}{D} \textstyle\sum_{c, l} \hat w_{f,c}(\omega + \tfrac{2 \pi l}{D}) \, \hat x_c(\omega + \tfrac{2 \pi l}{D})
#   && \text{every $D$-th pixel: $D^2$ frequencies fall on one} \\
# \hat y(\omega) &= A(\omega) \, \hat x_\omega
#   && \text{a matrix of $F$ rows, $C D^2$ columns for each $\omega$} \\
# \lVert W \rVert &= \textstyle\sup_\omega \lVert A(\omega) \rVert
#   && \text{by Parseval, as no two $\omega$ share a frequency}
# \end{aligned}
# $$
#
# The factor in the second line is where the paper slips. Keeping one pixel of $D^2$ averages the $D^2$ aliases, which
# gives $1 / D^2$; but the unitary transform of an output with $D^2$ times fewer pixels is normalised by another constant,
# which gives $D$ back. The last version of the paper prints $1 / D^2$. A convolution small enough to be written down as a
# matrix decides:

# %%
kernels = torch.randn(3, 2, 3, 3, generator=seeds.generator(run.seeds.noise)).double()
toy = Convolution(kernels, size=(8, 8), stride=(2, 2))
written_down = float(torch.linalg.svdvals(spectral.torus_matrix(toy, side=8))[0])
by_blocks = spectral.torus_bounds(toy, side=8).upper
as_printed = spectral.norm_as_printed(toy, side=8)
assert abs(by_blocks - written_down) < 1e-6 * written_down
assert abs(as_printed * 2 - written_down) < 1e-6 * written_down
tell(matrix=(written_down, ".4f"), blocks=(by_blocks, ".4f"))
tell(formula=(as_printed, ".4f"))

# %% [markdown]
# The matrix has the norm {glue:text}`matrix`, the blocks $A(\omega)$ give {glue:text}`blocks`, and the
# formula as printed gives {glue:text}`formula`: too small by the stride, 2. (The simplest case needs no computer. A
# single weight of 1 and a stride of 2 keeps every second pixel: norm 1, and 1/2 by the formula.)
#
# :::{more} A second trap, and what a layer does at its real size
# :::
#
# There is a second trap in its notation. The supremum is over a continuum of frequencies, and the letters could be read as
# the integers below the kernel's side: a kernel of 5 × 5 pixels on a grid of 5 × 5 frequencies. So coarse a grid can miss
# the largest norm. An edge, $(1, -1, 0)$ along both axes, stretches a checkerboard by 4; its own grid of 3 × 3 frequencies
# finds 3:

# %%
edge = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
edges = Convolution(torch.outer(edge, edge)[None, None], size=(20, 20))
assert abs(spectral.torus_bounds(edges, side=20).upper - 4) < 1e-6
assert abs(spectral.norm_on_kernel_grid(edges) - 3) < 1e-6

filters = Convolution.of(layers["Conv, layer 1"], (28, 28))
response = spectral.torus_spectrum(filters, 64)[:, 0].view(64, 64).cpu()
on_grid = spectral.norm_on_kernel_grid(filters)
assert on_grid <= response.max() * 1.01
tell(kernel_grid=(on_grid, ".3f"), supremum=(float(response.max()), ".3f"))

# %% mystnb={"figure": {"caption": "How far the first layer of this build's network Conv stretches a wave, by the wave's frequency.", "name": "fig-frequencies"}, "image": {"alt": "A map over horizontal and vertical frequency, with a coarse grid of 25 dots and a star where the norm is largest."}}
coarse = torch.cartesian_prod(torch.arange(5), torch.arange(5)) / 5
curves.norm_by_frequency(
    response.numpy(), coarse.numpy(), "Where a convolution stretches most"
)

# %% [markdown]
# For the filters of this build's Conv the coarse grid finds {glue:text}`kernel_grid`, the fine one
# {glue:text}`supremum`. (For most layers of Table 5 it hardly matters: they stretch constant images most, and these are on
# every grid.)
#
# A network does not live on a torus, though: it pads with zeros. Then there are no blocks, but there is still the operator
# itself. One convolution and one transposed convolution per step are all that Golub and Kahan's bidiagonalisation
# {cite:p}`golub1965calculating` needs to find $\lVert W \rVert$ at the layer's real input size
# (`spectral.largest_singular_value`). What it returns is attained by an image, so it is never too large; and it cannot
# exceed the norm on a torus large enough that nothing wraps onto itself. Two computations that know nothing of each other
# enclose the truth.
#
# ## Table 5
#
# The paper's network is that of {cite:t}`krizhevsky2012imagenet`, whose weights are not to be had. Its nearest relatives in
# public: the first two layers of the Caffe reference network, which copies the layout, and torchvision's AlexNet, which
# has fewer filters in the first layers and no groups. Every norm is enclosed, and as the weights are public, what was
# recorded must come out again wherever this is built. (A dash is a number that is illegible in the only copy of the first
# version that we had, or a layer that no public file has for us.)

# %%
public = frame_bounds.public_layers(found, run.device)
five = run.table("table5", frame_bounds.table5(public, found, run))
assert all(cell.value <= cell.high * (1 + 1e-5) for cell in five.now.values())
assert frame_bounds.discrepancy(five) < 1e-3

# %% mystnb={"markdown_format": "myst"}
columns = ["v1", "v4", "Caffe's", "AlexNet"]
upper = frame_bounds.by_layer(
    five, {"upper": "{}"}, printed={"upper (v1)": "v1", "upper (v4)": "v4"}
)
caption = "Table 5, upper bounds: the paper's versions, and public counterparts."
shape = {"printed": columns[:2], "name": "tab-five", "index": "layer"}
Markdown(upper.show(columns, caption=caption, **shape))

# %% mystnb={"figure": {"caption": "Upper frame bounds: the paper's last version beside public weights. Right of the line at 1 a layer can stretch a difference.", "name": "fig-five"}, "image": {"alt": "For each of eight layers, marks on a logarithmic axis: the paper's number, and those of the public networks as far as they are known."}}
comparisons.bounds_beside(frame_bounds.series(upper), upper.rows, "All layers stretch")

# %% tags=["hide-input"]
tell(
    slack=(100 * frame_bounds.slack(five.told), ".1f"),
    smallest_norm=frame_bounds.norms(five.told)[0],
    largest_norm=frame_bounds.norms(five.told)[-1],
    nearest_off=(frame_bounds.times_off(five, "upper"), ".2f"),
    alexnet_off=(frame_bounds.times_off(five, "upper", frame_bounds.ALEXNET), ".2f"),
    formula_off=(frame_bounds.times_off(five, "upper as printed"), ".2f"),
)
paper = five.printed
v1, v4 = paper["conv1", "upper (v1)"], paper["conv1", "upper (v4)"]
last = [norm for (_, version), norm in paper.items() if version == "upper (v4)"]
tell(v1=v1, v4=v4, last_norms=span(last, "g"), times_less=(v1 / v4, ".1f"))

# %% [markdown]
# No norm of a convolution lies more than {glue:text}`slack` % below that on its torus, and none above. The public norms lie
# between {glue:text}`smallest_norm` and {glue:text}`largest_norm`, the paper's last ones are {glue:text}`last_norms`, in
# networks trained by other people with other software. How close is that? With the nearest counterpart for each convolution,
# Caffe's for the first two and AlexNet for the others, no norm is off by more than a factor of {glue:text}`nearest_off`;
# with AlexNet throughout one is off by {glue:text}`alexnet_off`. But this compares true norms with what came out of a
# formula that has a wrong factor for conv1. Like with like, the formula's numbers on both sides and the nearest
# counterparts, it is a factor of {glue:text}`formula_off`.
#
# :::{more} The first layer six ways, the lower bounds, and whole spectra
# :::
#
# Which of the paper's two numbers for conv1 is right, {glue:text}`v1` or {glue:text}`v4`? The formula was corrected between
# the two versions. What each way of computing gives:

# %% mystnb={"markdown_format": "myst"}
columns = ["conv1, Caffe's", "conv1, AlexNet"]
caption = f"The first layer's norm, six ways. The paper: {v1:g} first, {v4:g} at last."
shape = {"name": "tab-first", "index": "norm of conv1"}
shape["rows"] = [*frame_bounds.WAYS, frame_bounds.PER_PIXEL]
Markdown(five.transposed().show(columns, caption=caption, **shape))

# %% tags=["hide-input"]
tell(
    caffe_v1_name=frame_bounds.nearest_way(five.told, columns[0], v1),
    alexnet_v1_name=frame_bounds.nearest_way(five.told, columns[1], v1),
    caffe_v4_name=frame_bounds.nearest_way(five.told, columns[0], v4),
    alexnet_v4_name=frame_bounds.nearest_way(five.told, columns[1], v4),
)

# %% [markdown]
# (*Upper* is the zero-padded operator; *on a torus* has the factor $1/D$, *as printed* $1/D^2$; the kernel's grid has
# $1/D$.) Of the first five, nearest to the first version's {glue:text}`v1` are, for the Caffe network,
# *{glue:text}`caffe_v1_name`* and, for AlexNet, *{glue:text}`alexnet_v1_name`*; nearest to the last version's
# {glue:text}`v4` are *{glue:text}`caffe_v4_name`* and *{glue:text}`alexnet_v4_name`*. These are other weights than the
# paper's. And the ratio of the two published numbers is {glue:text}`times_less`, not
# the 4 or 16 that a change of the factor alone would make, so that more than the factor changed between the versions. (The
# last is also exactly 11/4, the kernel's side over the stride, up to which the formula's frequencies run. We cannot rule
# out a slip.)
#
# One thing more could differ, and it makes all norms of a *first* layer hard to compare: the unit of its input. Caffe's
# network takes bytes, torchvision's AlexNet standard deviations of a pixel. As functions of pixels in $[0, 1]$, the
# unit of this book, they have the norms of the last line. The paper does not say what its network takes.
#
# The lower end is harder. On a torus the least singular value is a matter of the same blocks. For the zero-padded operator
# the small singular values are so crowded that the iteration comes down slowly; what it has reached is attained by an image,
# so the truth is at most that:

# %% mystnb={"markdown_format": "myst"}
lower = frame_bounds.by_layer(
    five,
    {"least on a torus": "{}, torus", "least": "{}, at most"},
    printed={"lower (v1)": "v1"},
)
columns = ["v1", "Caffe's, torus", "AlexNet, torus"]
columns += ["Caffe's, at most", "AlexNet, at most"]
caption = "Table 5, lower bounds: the first version's, and public layers' least values."
shape = {"printed": ["v1"], "rows": upper.rows, "name": "tab-lower", "index": "layer"}
Markdown(lower.show(columns, caption=caption, **shape))

# %% tags=["hide-input"]
rim = 100 * lower.told.grid(["conv1"], columns[3:])[0]
rim /= lower.told.grid(["conv1"], columns[1:3])[0]
tell(rim_caffe=(rim[0], ".0f"), rim_alexnet=(rim[1], ".0f"))

# %% [markdown]
# Of the paper's layers conv5 (192 channels to 128 in each of its groups), FC1 and FC3 have fewer outputs than inputs, so
# that their lower frame bounds are zero; conv4 has as many. In torchvision's AlexNet it is conv4 that is wide. On conv1 the
# zero-padded operator comes down to {glue:text}`rim_caffe` % (Caffe's) and {glue:text}`rim_alexnet` % (AlexNet) of its
# torus: where that is less than 100 %, the edge makes room for images that the torus, all alike, has none for.
#
# Whole spectra say more than their ends:

# %% mystnb={"figure": {"caption": "All singular values of those layers of the ImageNet networks that this build has, of convolutions on a torus. Above the line at 1 a layer stretches.", "name": "fig-spectra"}, "image": {"alt": "Falling curves on a logarithmic axis, one for each layer, in a panel for each network; or an empty panel whose title says that this build has none."}}
curves.spectra(frame_bounds.spectra(public, run), "How far convolutions stretch")

# %% [markdown]
# ## SqueezeNet
#
# :::{more} Smaller layers, and more of them
# :::
#
# Do networks without the giant dense layers behave better? SqueezeNet 1.1 {cite:p}`iandola2016squeezenet` has AlexNet's
# accuracy and a fiftieth of its weights, in modules that squeeze the channels with 1 × 1 filters and expand them again.

# %% mystnb={"markdown_format": "myst"}
modules = frame_bounds.squeezenet_layers(found, run.device)
small = run.table("squeezenet_bounds", frame_bounds.squeezenet(modules, run))
assert all(cell.value <= cell.high * (1 + 1e-5) for cell in small.now.values())
caption = "SqueezeNet 1.1: the norms of its convolutions as applied."
shape = {"rows": frame_bounds.MODULES, "name": "tab-squeezenet", "index": "module"}
Markdown(small.show(frame_bounds.PARTS, caption=caption, **shape))

# %% tags=["hide-input"]
squeezed = frame_bounds.beside_table5(small, five)
tell(num_squeezed=squeezed[0], num_as_large=squeezed[3])
tell(squeezed_low=(squeezed[1], ".1f"), squeezed_high=(squeezed[2], ".1f"))

# %% [markdown]
# Its {glue:text}`num_squeezed` norms lie between {glue:text}`squeezed_low` and {glue:text}`squeezed_high`. Of these,
# {glue:text}`num_as_large` reach the smallest of those above. A layer may stretch less, but there are more of them
# in a row.

# %% mystnb={"figure": {"caption": "All singular values of SqueezeNet's convolutions on a torus, by their part in a module, as far as this build has its weights.", "name": "fig-squeezenet-spectra"}, "image": {"alt": "Falling curves on logarithmic axes, one for each module, in a panel for each part; or an empty panel whose title says that this build has none."}}
curves.spectra(frame_bounds.squeezenet_spectra(modules, run), "Squeezing and expanding")

# %% [markdown]
# ## Does it begin in the first layer?
#
# "Instabilities can appear as soon as in the first convolutional layer", the section concludes from norms above 1. A norm
# cannot show that. Multiply the first layer by ten and divide the second by ten: the network says what it said, and the norm
# is ten times as large. Feed it bytes instead of pixels in $[0, 1]$: the norm is 255 times smaller. What does not depend on
# such choices is a comparison within the layer. Does it stretch what makes a network err more than it stretches noise, a
# random direction of the same length? The {term}`perturbations <perturbation>` that [were found for photographs](imagenet) answer:

# %% mystnb={"markdown_format": "myst"}
first = run.table("first_layer", frame_bounds.first_layer(found, run))
columns = ["growth, adversarial", "growth, random direction", "largest possible"]
caption = "How many times as long perturbations of pixels leave the first convolution."
shape = {"rows": frame_bounds.UNDER_ATTACK, "name": "tab-first-layer"}
Markdown(first.show(columns, caption=caption, **shape, index="first convolution of"))

# %% tags=["hide-input"]
grown = first.told.grid(frame_bounds.UNDER_ATTACK, columns)
tell(
    first_source=first.source,
    squeezenet_ratio=(grown[0, 0] / grown[0, 1], ".1f"),
    alexnet_ratio=(grown[1, 0] / grown[1, 1], ".1f"),
    alexnet_used=(100 * grown[1, 0] / grown[1, 2], ".0f"),
)

# %% [markdown]
# {glue:text}`first_source`, the attack's perturbations grow {glue:text}`squeezenet_ratio` times as much as random ones in
# SqueezeNet's first layer, and {glue:text}`alexnet_ratio` times in AlexNet's, where they use {glue:text}`alexnet_used` % of
# the norm. Where such a number is well above 1 the first layer takes part, by telling this perturbation from noise; where it
# is about 1, all that tells them apart comes later. (A random direction spreads over all singular values alike. What leans
# towards the large ones grows more, whether it fools anybody or not: so much the comparison leaves open.)

# %% [markdown]
# ## Pooling, and contrast normalisation
#
# What lies between the convolutions counts, too. The paper calls max pooling contractive. For windows that do not overlap
# it is. But its network pools 3 × 3 pixels every 2, so that a pixel can be in four windows at once. This needs no
# measurement, it is arithmetic. Make that one pixel brighter:

# %%
pool = nn.MaxPool2d(kernel_size=3, stride=2)
black, dot = torch.zeros(1, 1, 7, 7), torch.zeros(1, 1, 7, 7)
dot[0, 0, 2, 2] = 1
expansion = float((pool(dot) - pool(black)).norm() / (dot - black).norm())
run.table("pooling", frame_bounds.pooling(expansion))
assert expansion == spectral.max_pool_lipschitz(3, 2) == 2

# %% tags=["hide-input"]
pixel = 1 / float(imagenet.torchvision_normalize().std.min())
contrast = spectral.contrast_lipschitz(epsilon=2, gamma=3 / 4)
tell(
    contrast=(contrast, ".2f"),
    alexnet_product=(frame_bounds.product(five.told, "AlexNet"), ",.0f"),
    alexnet_pooled=(frame_bounds.product(five.told, "AlexNet", 8), ",.0f"),
    alexnet_pixels=(frame_bounds.product(five.told, "AlexNet", 8 * pixel), ",.0f"),
    paper_convolutions=(frame_bounds.printed_product(five.printed, "conv"), ",.0f"),
    paper_product=(frame_bounds.printed_product(five.printed), ",.0f"),
)

# %% [markdown]
# Four outputs change by 1 where one input did: the difference grows by 2. In general pooling multiplies differences by up
# to the square root of the number of windows that a pixel is in. AlexNet pools three times, so the product of its layers'
# bounds is short of a factor of 8.
#
# :::{more} Contrast normalisation, and what all layers multiply to
# :::
#
# For contrast normalisation, $x / (\epsilon + \lVert x \rVert^2)^\gamma$, the paper's constant $\epsilon^{-\gamma}$ is
# right, not only for $\gamma \in [1/2, 1]$ but for all of $[0, 1]$, and attained at $x = 0$: along $x$ the slope is
# $\epsilon^{-\gamma} (1 + t)^{-\gamma - 1} \, | 1 + (1 - 2 \gamma) t |$ with $t = \lVert x \rVert^2 / \epsilon$, never above its
# value at $t = 0$. (With AlexNet's $\epsilon = 2$ and $\gamma = 3/4$ that is {glue:text}`contrast`: it calms. Its real
# layer normalises each channel by its five neighbours, which is not quite this formula; a search for a steeper place finds
# none, `tests/measures/test_spectral.py`.)
#
# The product over AlexNet's five convolutions is {glue:text}`alexnet_product`, with pooling {glue:text}`alexnet_pooled`, and
# {glue:text}`alexnet_pixels` from pixels in $[0, 1]$ through the normalisation of its inputs. The paper's own numbers
# multiply to {glue:text}`paper_convolutions` for the convolutions and {glue:text}`paper_product` for all eight layers.
# {cite:t}`virmaux2018lipschitz` later computed $3.62 \cdot 10^7$ for all of AlexNet as a product of norms, and
# $5.45 \cdot 10^6$ with a sharper method that looks at neighbouring layers together: the best directions out of one
# layer are not the best into the next.
#
# ## How it came out
#
# The paper's upper bounds have the size of those of public networks. Its formula has a wrong factor for strided layers, its
# claim about pooling a counterexample, and its lower bounds are zero by shape where a layer has fewer outputs than inputs.
# That the first layer is to blame does not follow from its norm.

# %% mystnb={"markdown_format": "myst"}
Markdown(run.verdicts())

# %% [markdown]
# What these bounds are good for, in proportion to what there is to lose, is asked [next](certificates).

# %% [markdown]
# ## Exercises
#
# **1. Averages.** What is the norm of mean pooling over 2 × 2 pixels with a stride of 2? And of maximum pooling over the same
# windows? Check the first as a convolution with one filter.
#
# :::{dropdown} Solution 1
# The mean of four pixels is their scalar product with a vector of length $\sqrt{4 / 16} = 1/2$, and the windows have no pixel
# in common: the norm is 1/2. The maximum can pass a difference on whole, but to one window only: 1.
#
# ```python
# mean = torch.full((1, 1, 2, 2), 0.25, dtype=torch.float64)
# pooling = Convolution(mean, size=(8, 8), stride=(2, 2))
# assert abs(spectral.torus_bounds(pooling, side=8).upper - 0.5) < 1e-9
# assert spectral.max_pool_lipschitz(2, 2) == 1
# ```
# :::
#
# **2. A random difference.** How many times as long does a random difference leave a layer $W$ with $n$ inputs, in root mean
# square? What must the singular values be like for that to be far below $\lVert W \rVert$? Check it on the thousand above.
#
# :::{dropdown} Solution 2
# A unit vector drawn from the sphere has a mean square of $1/n$ along each singular vector: the mean of $\lVert W r \rVert^2$ is
# $\sum_i \sigma_i^2 / n = \lVert W \rVert_F^2 / n$. It is far below $\sigma_1^2$ if few of the $n$ are large, and shape alone
# makes at least $n$ less the number of outputs of them zero.
#
# ```python
# expected = (weight.square().sum() / 784).sqrt()
# measured = growth.square().mean().sqrt()
# assert abs(measured / expected - 1) < 0.05
# float(expected / spectral.dense_bounds(weight).upper)
# ```
# :::
#
# **3. Stride by stride.** Windows of 3 × 3 pixels can be taken every pixel, every two or every three. How much can maximum
# pooling stretch a difference in each case? Find an image for which it does.
#
# :::{dropdown} Solution 3
# By the root of the number of windows that a pixel is in: 3, 2 and 1. One bright pixel that is in as many windows as can be,
# on black, does it.
#
# ```python
# bright = torch.zeros(1, 1, 9, 9)
# for stride in (1, 2, 3):
#     place = 4 if stride == 2 else 3  # of a pixel that is in as many windows as can be
#     dot = bright.clone()
#     dot[0, 0, place, place] = 1
#     assert nn.MaxPool2d(3, stride)(dot).norm() == spectral.max_pool_lipschitz(3, stride)
# ```
# :::

# %% tags=["remove-cell"]
run.finish()
