# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What bounds certify
#
# :::{answer}
# :::
#
# The [last chapter](spectral_analysis) found that layers stretch what they are given, those of the paper's network and ours
# alike. Is that bad at all? The section is careful with its words: large bounds prove no instability, small ones would
# exclude it. Small compared with what? Divide the last layer of any network by a thousand: its bounds shrink by a thousand,
# and it says the same class to every image. What counts is a bound *in proportion to* what there is to lose, the {term}`lead` of
# one {term}`logit <logits>` over another.
#
# So take the idea at its word. If layers that stretch explain the instability, then layers that stretch little should
# *guarantee* stability. This chapter computes guarantees, from the product of norms to ever sharper ones, and puts each of
# them on trial against every {term}`adversarial example` that this book has found.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"]
from IPython.display import Markdown
from myst_nb import glue

from lib.experiments import certification, digits
from lib.figures import comparisons
from lib.measures import certificates, certified, spectral
from lib.measures.certificates import ENCLOSED, PAIRS, PRODUCT, SEMIDEFINITE
from lib.networks import mnist
from lib.record.markdown import span, tell

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
run = digits.begin("certificates", profile, data, device, seed)
glue("dataset", run.train.name, display=False)
Markdown(run.banner)

# %% [markdown]
# ## A theorem about every image
#
# If $z_k - z_l$ changes by at most $L_{kl} \lVert r \rVert$, then no image within
#
# $$ \max_k \frac{z_k(x) - z_l(x)}{L_{kl}} $$
#
# of $x$ can have class $l$: a **{term}`certificate`**. No search is involved, it is a theorem about every image there is. The
# coarsest constant is the paper's: $\sqrt 2$ times the product of the norms ($\sqrt 2$ because two logits are compared).
# For a network of one layer, $L_{kl} = \lVert w_k - w_l \rVert$ is exact. Walk from $x$ straight across, and where the
# certificate ends the two classes are level:

# %%
network = run.trained("softmax 1").network
layer = certificates.as_layers(network)[0]
x, target = run.attacked.inputs[0].double(), run.targets(run.attacked)[0]
logits = layer(x)
lead = logits.max() - logits[target]
across = layer.weight[target] - layer.weight[logits.argmax()]
distance = lead / across.norm()
there = layer(x + distance * across / across.norm())
assert abs(there[target] - there[logits.argmax()]) < 1e-9 * lead
bound = 2**0.5 * spectral.dense_bounds(layer.weight).upper
assert across.norm() <= bound
assert lead / bound <= distance

# %% [markdown]
# With more layers it is a matter of how much one knows. Sharper constants cost more thought:
#
# - *slope of 1/4*: a {term}`sigmoid` does not just fail to expand, it contracts by four (the section speaks of {term}`rectifiers <rectifier>` only);
# - *pairs of classes*: $\lVert w_k - w_l \rVert$ of the last layer's own rows in place of $\sqrt 2 \, \lVert W \rVert$;
# - *averaged slopes* {cite:p}`combettes2020lipschitz`: slopes in $[0, 1/4]$ are 1/8 plus or minus 1/8. Multiply out and bound
#   each of the four terms: $\tfrac{1}{64} (\lVert W_3 W_2 W_1 \rVert + \lVert W_3 W_2 \rVert \lVert W_1 \rVert +
#   \lVert W_3 \rVert \lVert W_2 W_1 \rVert + \lVert W_3 \rVert \lVert W_2 \rVert \lVert W_1 \rVert)$, with $w_k - w_l$
#   for the rows of $W_3$. Only the last term is a product of all norms, and the others are never larger;
# - *semidefinite* {cite:p}`fazlyab2019efficient,xu2024eclipse`: what the slopes say of two points at once. Where the units of
#   a layer differ by $v$ before their sigmoids and by $y$ behind them, each $y_i$ lies between 0 and $v_i / 4$, so that
#   $y^\top T (v / 4 - y) \ge 0$ whatever weights $T \ge 0$ the units are given. Added up over the layers, these leave
#   $z_k - z_l$ only so much room, and a descent finds the $T$ that leave least;
# - *{term}`enclosure`*, for the networks with sigmoids {cite:p}`singh2018fast`: no constant at all. All that the logits can be on a
#   ball around *this* image is enclosed, and the ball is blown up until the enclosure no longer rules class $l$ out. On a
#   small ball a sigmoid is nearly straight, whatever it may be elsewhere.
#
# What they certify stands against what the attack found for the same images and {term}`targets <target>`, and against the estimate that a
# {term}`linear network` with the same gradient would give, {term}`margin` over slope at $x$, which certifies nothing.

# %%
names = [*mnist.TABLE1, "Conv"]
trials = certification.attacked(run, names)
for name, trial in trials.items():
    constants = [constant.max() for constant in trial.certified.constants.values()]
    assert constants == sorted(constants, reverse=True), name  # from crude to sharp
    assert trial.certified.slope.max() <= constants[-1] * (1 + 1e-9), name

# %% mystnb={"figure": {"caption": "Distances within which no image has the target class, by ever sharper certificates, and the distance at which this build's attack found one; the median and the middle 90 % of the images.", "name": "fig-certificates"}, "image": {"alt": "For each network a panel with bars on a logarithmic axis of distance: one for each certificate, from the crudest to the sharpest, then one for the linear estimate and one for the attack."}}
panels = {name: trial.distortions for name, trial in trials.items()}
comparisons.distances(panels, "What is certified, and what is so")

# %% [markdown]
# ## On trial
#
# One certified distance beyond the length of a successful attack would refute the theorem, or our code. The networks of
# Table 3 stand trial as well, with the test images; all networks meet the {term}`tight attack` ([](how_near)), which
# comes nearer than the paper's, on some images, and the linear ones the {term}`exact optimum` in the {term}`box`.

# %%
tight = certification.tightened(run, trials)
optima = certification.optima(run, trials)
shares = (
    certified.shares(trials | certification.halves(run))
    | certified.shares(tight, " of the tight attack")
    | certified.shares(optima, " of the optimum")
)
assert all(share.value <= 1 + 1e-7 for share in shares.values())

# %% mystnb={"markdown_format": "myst"}
cells = certified.orders(trials) | shares | certified.covered(optima, PAIRS)
table = run.table("certificates", cells)
columns = [*certificates.KINDS, certified.ESTIMATE]
caption = "Orders of magnitude from certificate to attack, mean over images."
Markdown(table.show(columns, rows=names, caption=caption, name="tab-orders"))

# %% tags=["hide-input"]
told, deep = table.told, mnist.DEEP
num_tried, closest = certified.tried(table.estimates)
exactly = {c: e for c, e in table.estimates.items() if c[1].endswith("optimum")}
num_optima, _ = certified.tried(exactly)
tell(
    source=table.source,
    num_attacks=num_tried - num_optima,
    num_optima=num_optima,
    closest=(100 * closest, ".2f"),
    num_exact=certified.num_images(table.estimates, mnist.LINEAR, certified.COVERED),
    covered=span(told.grid(mnist.LINEAR, [certified.COVERED])[:, 0], ".0f"),
)

# %% [markdown]
# {glue:text}`source`, certificates stood trial {glue:text}`num_attacks` times against what an attack had found, and
# {glue:text}`num_optima` times against an exact optimum. None was refuted: the closest call is one that reaches
# {glue:text}`closest` % of the way to what was found. For a linear network a certificate would end exactly on the nearest
# boundary if there were but two classes and no box. How much of the mean distance to the optimum it covers, in per cent:
# {glue:text}`covered` (images: {glue:text}`num_exact`). The rest is the box and the rivals besides one, of which it knows
# nothing.

# %% tags=["hide-input"]
tell(
    num_enclosed=certified.num_images(table.estimates, deep, ENCLOSED),
    num_certified=certified.num_images(table.estimates, deep, PRODUCT),
    product=(certified.range_of(told, deep, PRODUCT)[1], ".1f"),
    sharpest=(certified.range_of(told, deep, SEMIDEFINITE)[1], ".1f"),
    enclosed=(10 ** certified.range_of(told, deep, ENCLOSED)[1], ".1f"),
    rectified=(told["Conv", PAIRS], ".1f"),
    estimated=(10 ** abs(told.grid(names, [certified.ESTIMATE])).max(), ".2f"),
)

# %% [markdown]
# For the networks with several layers of sigmoids or a code of them, the product of norms is up to {glue:text}`product`
# orders of magnitude short of the attack. Every layer of sigmoids explains $\log_{10} 4 = 0.6$ of that, and better constants
# leave at most {glue:text}`sharpest`. The enclosure of a ball around the single image, which is computed for
# {glue:text}`num_enclosed` of {glue:text}`num_certified` images only, leaves a factor of at most {glue:text}`enclosed` on
# average. For Conv, whose rectifiers offer no slope of 1/4, {glue:text}`rectified` orders remain. Meanwhile the linear
# estimate, from margin and slope at $x$ alone, is off by a factor of at most {glue:text}`estimated` in the geometric mean
# over a network's images.
#
# ## What there is to lose
#
# How much of the product is real? The steepest slope of any difference of logits that we met at any of these images is a
# lower bound of its Lipschitz constant. And how large would be large enough? A bound excludes what the attack found if the
# lead at $x$ exceeds the bound times the length that was needed:

# %% mystnb={"markdown_format": "myst"}
fast = run.table("lipschitz", certified.steepness(trials))
columns = [PRODUCT, certified.SHARPEST, certified.STEEPEST]
columns += [certified.LEAD, certified.NEEDED]
caption = "How fast a difference of logits can change, the lead, and the lead needed."
Markdown(fast.show(columns, rows=names, caption=caption, name="tab-lipschitz"))

# %%
gentle, one = fast.told, "softmax 1"
tell(
    fast_source=fast.source,
    gentle_norm=(gentle[one, PRODUCT] / 2**0.5, ".2f"),
    gentle_lead=(gentle[one, certified.LEAD], ".2f"),
    gentle_needed=(gentle[one, certified.NEEDED], ".2f"),
    steepest_share=(certified.real_part(gentle, deep), ".1f"),
    rectified_share=(certified.real_part(gentle, ["Conv"]), ".1f"),
)

# %% [markdown]
# *softmax 1* is the network to look at. {glue:text}`fast_source`, its only layer has the norm {glue:text}`gentle_norm`;
# below 1, it shrinks every difference there is; and the network is fooled like the others. Small bounds exclude nothing by
# being small: what counts is the lead. The mean lead of this network: {glue:text}`gentle_lead`. The lead that its bound
# needs to exclude what the attack found: {glue:text}`gentle_needed`. Nor do large bounds prove much. Of what the product of
# norms allows, the steepest slope met is in per cent, at the most, {glue:text}`steepest_share` for the networks with several
# layers of sigmoids or a code of them, and {glue:text}`rectified_share` for Conv.
#
# ## What to conclude
#
# As an explanation the numbers of Table 5 fall short in two ways. A norm means nothing without the margins that it is to be
# measured against. And measured against them, on our networks for digits (Table 5's own was not asked), the product of norms
# leaves room for orders of magnitude. It follows a difference that is the worst in every layer. For the networks with
# sigmoids a sharper constant proves that there is none; for Conv we met none.

# %% tags=["hide-input"]
sharpest, enclosed = (
    certified.range_of(told, deep, kind) for kind in (SEMIDEFINITE, ENCLOSED)
)
tell(
    sharpest_low=(10 ** sharpest[0], ".1f"),
    sharpest_high=(10 ** sharpest[1], ".1f"),
    enclosed_low=(10 ** enclosed[0], ".1f"),
    enclosed_high=(10 ** enclosed[1], ".1f"),
)

# %% [markdown]
# But the question was a good one. Still looking at nothing but the weights, better constants bring the guarantees for
# the sigmoid networks to within a factor of {glue:text}`sharpest_low` to {glue:text}`sharpest_high` of what the attack
# needs, on average. What looks at the weights *around one image*, the enclosure, comes to within
# {glue:text}`enclosed_low` to {glue:text}`enclosed_high`. (We enclose ourselves, in `lib/measures/certificates.py`: the
# released version of the library that is made for this, auto_LiRPA 0.3, asks for a PyTorch below 1.13.) And the attack
# is no accident of odd places: its distance is about what the network's slope at the image itself foretells.
#
# That the paper asked at all was fruitful: keeping the norms of layers small during training, with the norms computed as
# here, became a method of its own {cite:p}`cisse2017parseval`.

# %% mystnb={"markdown_format": "myst"}
Markdown(run.verdicts())

# %% [markdown]
# ## Exercises
#
# **1. A thousand times smaller.** Divide the last layer by a thousand, as the beginning of this page does. What becomes of the
# bounds, of the leads, and of the certificates?
#
# :::{dropdown} Solution 1
# The lead $z_k - z_l$ and its constant $L_{kl}$ both shrink by a thousand; the certificate is their ratio and stays.
#
# ```python
# import torch
#
# from lib.measures import chains
#
# goals, z = run.targets(run.attacked), layer(run.attacked.inputs.double())
# norms = chains.pair_norms(layer.weight)
# before = certificates.certified_distance(z, goals, norms)
# after = certificates.certified_distance(z / 1000, goals, norms / 1000)
# torch.testing.assert_close(before, after)
# ```
# :::
#
# **2. Another slope.** A sigmoid's slope is at most 1/4, that of the hyperbolic tangent at most 1. Show both. Do networks with
# sigmoids therefore have better certificates? Use $\tanh(a) = 2 \sigma(2 a) - 1$.
#
# :::{dropdown} Solution 2
# $\sigma' = \sigma (1 - \sigma) \le 1/4$, and $\tanh' = 1 - \tanh^2 \le 1$. They do not: a layer of hyperbolic tangents is one of
# sigmoids with weights twice as large before and after it. Its product of bounds is $2 \cdot 1/4 \cdot 2 = 1$ times that of
# the weights, in either form.
#
# ```python
# from torch import nn
#
# assert spectral.lipschitz(nn.Sigmoid(), (1,)) == 1 / 4
# assert spectral.lipschitz(nn.Tanh(), (1,)) == 1
# ```
# :::
#
# **3. An estimate is no certificate.** Take the linear estimate for a certified distance. On how many images would the attack
# refute it, for 100-100-10? And the enclosure?
#
# :::{dropdown} Solution 3
# An image refutes it where the attack ends nearer than the estimate. However good the estimate is on average, a single such
# image keeps it from being a theorem. The enclosure is one, and no attack ends inside it.
#
# ```python
# trial = trials["100-100-10"]
# sharpest = trial.distances[ENCLOSED]
# known = sharpest.isfinite()
# assert (sharpest[known] <= trial.lengths[known]).all()
# 100 * float((trial.distances[certified.ESTIMATE] > trial.lengths).float().mean())
# ```
# :::

# %% tags=["remove-cell"]
run.finish()
