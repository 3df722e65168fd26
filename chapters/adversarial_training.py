# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Learning from what fools you
#
# :::{answer}
# :::
#
# If a network can be fooled by images that it has never seen, show them to it. The paper does so in a single paragraph, and
# with a twist that few have followed up ([](since_2013)): {term}`adversarial examples <adversarial example>` are made not only for the
# pixels, but **for the output of
# every layer**, and each trains the layers above. A 100-100-10 network gets below 1.2 % test error this way, it says; with
# {term}`weight decay` alone 1.6 %, with dropout around 1.3 %. (The first version of the same paragraph says below 2 %, 6 % and 3 %.
# Its own Table 1 has 1.64 % for the same network with weight decay alone.)
#
# No numbers beyond these are printed, no {term}`pool` sizes, no schedule. So there is a recipe to be guessed, and a question worth
# more than the recipe: does it help, and which layer's examples are the useful ones?

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
import torch
from IPython.display import Markdown
from myst_nb import glue

from lib.experiments import digits, pools, seeds
from lib.figures import curves, grids
from lib.networks import adversarial_training
from lib.record import ledger
from lib.record.markdown import tell

run = digits.begin("adversarial_training", profile, data, device, seed)
scale = run.profile.pools
glue("dataset", run.train.name, display=False)
Markdown(run.banner)

# %% [markdown]
# ## An example for every layer
#
# Cut the network $f$ behind its $j$-th layer: $f = g_j \circ h_j$, where $h_j$ leads from the pixels to that layer's output
# and $g_j$ from there to the {term}`logits`. The attack does not care what its input is. Given $v = h_j(x)$, it looks for
#
# $$ \min_r \lVert r \rVert \quad \text{subject to} \quad g_j(v + r) = l , \quad v + r \in [0, 1]^{m_j} , $$
#
# since the outputs of sigmoids live in a {term}`box` as pixels do. The example $v + r$ with the label of $x$ goes into the pool of
# layer $j$. It is a constant: it trains $g_j$, and nothing below it moves. For $j = 0$ it is an adversarial image.

# %%
network, few = run.trained(pools.NETWORK).network, run.test.take(10)
examples = {}
for layer in range(3):
    draws = seeds.generator(run.seeds.targets)
    arguments = network, layer, few.inputs, few.labels, scale.pools, draws
    examples[layer], _ = adversarial_training.make_examples(*arguments)

# %% mystnb={"figure": {"caption": "Test images of this build, and what the pool of the input gets for them, at the reach that is used below.", "name": "fig-pool"}, "image": {"alt": "Two rows of ten digits; the lower ones are the same digits with faint grey patches."}}
rows = torch.cat([few.inputs, examples[0]])
grids.image_grid(rows, 10, "The input's pool", row_titles=["images", "examples"])
# %% [markdown]
# Three choices are ours. The class $l$ is the one whose boundary is nearest by the network's linearisation, not a random
# one: examples of a random class lie far away, where no image of the digit will ever be. Examples go {glue:text}`reach` of
# the way to the boundary, so that they still belong to the class whose label they carry. And the pools are mixed in as if
# they were more images: an epoch goes once through the images and once through each pool, in batches of random order.
# What other choices do is told below.
#
# Before every epoch a random part of each pool ({glue:text}`renewed` %) is replaced by new examples for the network as it
# then is. That costs gradients, and it would be unfair to give them to one side only: **every network below gets the same
# budget of gradients**, {glue:text}`budget` times the number of its training images, those of the attacks included.

# %%
images = run.train, run.test
compared = pools.Comparison.of(*images, pools.ways(scale), scale.num_seeds, run.store)
asked = run.test.take(scale.num_asked)
foreign = run.adversarial(run.trained(pools.FOREIGNER), asked)
hardness = compared.hardness(run.targets(asked), foreign.adversarial)
table = run.table("adversarial_training", compared.errors | hardness)

# %% tags=["hide-input"]
tell(reach=f"{scale.pools.reach:g}", renewed=f"{100 * scale.pools.renewed:g}")
tell(budget=f"{scale.budget:g}", num_seeds=scale.num_seeds)

# %% [markdown]
# ## Does it help?

# %% mystnb={"markdown_format": "myst"}
caption = "Test error of a 100-100-10 network, means over seeds."
Markdown(
    table.show([pools.ERROR], caption=caption, name="tab-pools", index="trained with")
)

# %% mystnb={"figure": {"caption": "Test error against the share of the budget that is spent, mean over seeds; as recorded, else of this build.", "name": "fig-pools"}, "image": {"alt": "Falling curves of test error, one for each way of training, and a dashed line for what the paper says."}} tags=["hide-input"]
progress = run.table("adversarial_training_curves", compared.curves())
lines = pools.lines(progress.told)
published = ledger.printed("adversarial_training")[pools.ALL, pools.ERROR]
curves.learning(lines, "test error (%)", "Six ways to spend the same budget", published)
# %% tags=["hide-input"]
told = table.told
tell(pools_source=table.source, num_behind=table.n)
tell(error_decay=(told[pools.DECAY, pools.ERROR], ".2f"))
tell(error_dropout=(told[pools.DROPOUT, pools.ERROR], ".2f"))
tell(error_all=(told[pools.ALL, pools.ERROR], ".2f"))
singles = {name: told[name, pools.ERROR] for name in pools.SINGLE}
tell(
    error_input=(singles[pools.INPUT], ".2f"), error_first=(singles[pools.FIRST], ".2f")
)
tell(error_second=(singles[pools.SECOND], ".2f"))

# %% [markdown]
# {glue:text}`pools_source`, means over {glue:text}`num_behind` {term}`seeds`: with weight decay alone the test error is
# {glue:text}`error_decay` %, with dropout {glue:text}`error_dropout` %. With a pool for every layer it is
# {glue:text}`error_all` %. Of single pools the input's gives {glue:text}`error_input` %, the first hidden layer's {glue:text}`error_first` %, the
# second's {glue:text}`error_second` %. {term}`This build <in this build>` has {glue:text}`num_seeds` seeds.
#
# ## One thing at a time
#
# All pools, with one choice changed:

# %%
configs, num_seeds = pools.variants(scale), scale.num_variant_seeds
changed = pools.Comparison.of(*images, configs, num_seeds, run.store)
variants = run.table("adversarial_training_variants", changed.errors)

# %% mystnb={"markdown_format": "myst"}
caption = "Test error with all pools and one thing changed, means over seeds."
Markdown(
    variants.show(
        [pools.ERROR], caption=caption, name="tab-pool-variants", index="changed"
    )
)

# %% [markdown]
# ## Are they harder to attack?
#
# The same question as in Table 1, of the {term}`tight attack` and random classes; how often each errs on what was made for another
# network, one of Table 1; and what can be proven without any attack, the distance {term}`certified <certificate>` by the product of the layers'
# norms.

# %% mystnb={"markdown_format": "myst"}
columns = [pools.DISTORTION, pools.FOREIGN, pools.CERTIFIED]
caption = "How hard the networks are to attack, means over seeds."
Markdown(
    table.show(
        columns, caption=caption, name="tab-pools-hardness", index="trained with"
    )
)

# %% [markdown]
# ## The claims

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
Markdown(run.verdicts())

# %% [markdown]
# ## Exercises
#
# **1. Fewer epochs.** Every way gets the same budget. Let a pool hold $s$ times as many examples as there are training images, a
# part $\rho$ of it be renewed before every epoch, and a new example cost $g$ gradients. How many epochs does a network with
# $j$ pools get for a budget of $B$? Compare the epochs of {numref}`fig-pools` with and without pools.
#
# :::{dropdown} Solution 1
# An epoch costs 1 for the images, $s$ for each pool, and $\rho s g$ for each pool's renewal: $B / (1 + j s (1 + \rho g))$
# epochs, where weight decay alone gets $B$. Whatever pools teach, they must teach it in fewer epochs.
#
# ```python
# epochs = {name: len(each[0].curve.spent) for name, each in compared.trained.items()}
# assert epochs[pools.ALL] < epochs[pools.INPUT] < epochs[pools.DECAY]
# epochs
# ```
# :::
#
# **2. Where the guess is exact.** Which class is nearest is guessed by the network's linearisation. For the output of the second
# hidden layer the rest of the network is linear. Write down how far each class is from there, without the box, and check it.
#
# :::{dropdown} Solution 2
# The classes $y$ and $k$ are level on a plane at the distance $(z_y - z_k) / \lVert w_y - w_k \rVert$, with $z$ the logits and
# $w$ the rows of the last layer.
#
# ```python
# from lib.attacks import nearest
#
# below = adversarial_training.below(network, 2)(few.inputs)
# last = adversarial_training.above(network, 2)[0]
# z, w, y = last(below), last.weight, few.labels
# gaps = z.gather(1, y[:, None]) - z
# found = nearest.linearized_distances(last, below, y)
# wrong = found.isfinite()
# by_hand = gaps / (w[y][:, None] - w).norm(dim=2)
# torch.testing.assert_close(found[wrong], by_hand[wrong])
# ```
# :::
#
# **3. All the way.** What does the network say of an example that goes all the way to the boundary, `reach=1`, and what does
# the example's label say? What does it teach that an example at half the way does not?
#
# :::{dropdown} Solution 3
# All the way, the network is wrong on every example for which the attack succeeded, by a hair, and the label tells it to move
# its boundary past the example. Half the way, it is right on most, and is only told to be surer.
#
# ```python
# from dataclasses import replace
#
# for reach in (0.5, 1.0):
#     config, draws = replace(scale.pools, reach=reach), seeds.generator(seed)
#     arguments = network, 0, few.inputs, few.labels, config, draws
#     made, _ = adversarial_training.make_examples(*arguments)
#     print(reach, float((network(made).argmax(dim=1) != few.labels).float().mean()))
# ```
# :::

# %% tags=["remove-cell"]
run.finish()
