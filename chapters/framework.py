# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Framework: data, networks, training
#
# Everything that follows happens to a handful of small classifiers of handwritten digits. This chapter builds them:
# which pictures they see, what they compute, and how they are trained to the end. It settles one thing that the paper
# leaves ambiguous, the weight decay, and finishes with the two error columns of the paper's Table 1.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from lib import experiment, intervals, paper, plots, training
from lib.models import mnist
from lib.training import DecayRule

run = experiment.begin("framework", profile, data, device, seed)

# %% tags=["remove-cell"]
glue("dataset", run.train.name, display=False)
glue("num_train", len(run.train), display=False)
glue("num_test", len(run.test), display=False)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
Markdown(run.banner)

# %% [markdown]
# ## Notation
#
# An image is a vector $x \in [0, 1]^m$ of $m = 784$ pixels, black 0 and white 1. A network maps it to ten **logits**
# $z(x)$; the class it says is the largest of them, $f(x) = \arg\max_k z_k(x)$, and the probability it gives class $k$
# is $p_k = e^{z_k} / \sum_j e^{z_j}$. Its loss on a label $l$ is the cross-entropy $-\log p_l(x)$. We write
# $\phi(x)$ for the activations of some layer.
#
# Two conventions hold throughout `lib`: inputs are in $[0, 1]$, whatever a network does to them first lies inside the
# network; and networks return logits.

# %% mystnb={"figure": {"caption": "The first forty training images.", "name": "fig-digits"}, "image": {"alt": "Four rows of ten handwritten digits, white on black."}} tags=["hide-input"]
plots.image_grid(run.train.inputs[:40], num_columns=10, title="What the networks see");

# %% [markdown]
# This build trains on {glue:text}`num_train:,` images and tests on {glue:text}`num_test:,`.
#
# ## The networks
#
# The paper names its networks differently in its two versions; {numref}`tab-networks` gives the names used here. Three
# are linear: a softmax on the pixels, held back by more and more weight decay. Two are the classic sigmoid network with
# two hidden layers, in two sizes. The sixth is an odd one, a softmax on top of an autoencoder that never saw a label.
# The last two serve later chapters: 123-456-10 in [](cross_training_set), Conv wherever we go beyond the paper.

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
specs = pd.DataFrame(
    {
        "layers": ["-".join(map(str, spec.sizes)) for spec in mnist.SPECS.values()],
        "family": [spec.family for spec in mnist.SPECS.values()],
        "decay of each layer": [", ".join(f"{lam:g}" for lam in spec.decay) or "–" for spec in mnist.SPECS.values()],
    },
    index=pd.Index(mnist.SPECS, name="network"),
)
Markdown(paper.to_markdown(specs, "The networks, first layer first.", "tab-networks"))

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
# In `lib/training.py` that is `F.cross_entropy(network(inputs), labels) + weight_decay(network, decay, rule)`.
# A fit counts as converged when an iteration lowers the loss by less than a stated amount, or when no component of the
# gradient exceeds a stated size; how each one ended is reported below, also when it simply ran out of iterations.

# %%
trained = {name: run.trained(name) for name in mnist.TABLE1}

# %% mystnb={"figure": {"caption": "Loss against accepted iterations. The linear classifiers have a convex loss and are done soon; the sigmoid networks go through long plateaus.", "name": "fig-training"}, "image": {"alt": "Six falling curves of training loss against L-BFGS iterations, on a logarithmic axis."}} tags=["hide-input"]
plots.training_curves({name: t.result.losses for name, t in trained.items()}, "Full-batch L-BFGS, six networks");

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
fits = pd.DataFrame(
    {
        "iterations": [f"{len(t.result.losses) - 1}" for t in trained.values()],
        "gradients": [f"{t.result.num_evaluations}" for t in trained.values()],
        "final loss": [f"{t.result.losses[-1]:.5f}" for t in trained.values()],
        "largest gradient component": [f"{t.result.gradient:.1e}" for t in trained.values()],
        "ended": [t.result.status for t in trained.values()],
    },
    index=pd.Index(trained, name="network"),
)
Markdown(paper.to_markdown(fits, "How each fit ended (AE400-10: its softmax).", "tab-fits"))

# %% [markdown]
# ## What is k?
#
# The paper divides the decay by $k$, "the number of units in the layer". For the softmax that would be 10. The errors of
# the three linear networks in Table 1 are a good test of that sentence: their loss is convex, so the minimum is unique
# and nothing but the decay can move it. Three readings:

# %%
readings = {
    rule.value: {name: run.trained(name, rule) for name in mnist.TABLE1[:3]}
    for rule in (DecayRule.HALF, DecayRule.UNITS, DecayRule.FULL)
}


def errors(network):
    """Training and test error in per cent."""
    return {
        "training error (%)": 100 * training.error_rate(network, run.train.inputs, run.train.labels),
        "test error (%)": 100 * training.error_rate(network, run.test.inputs, run.test.labels),
    }


published = paper.published("table1").set_index(["row", "column"])["value"]
by_reading = {reading: {name: errors(t.network) for name, t in nets.items()} for reading, nets in readings.items()}

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
columns = ["training error (%)", "test error (%)"]
table = pd.DataFrame(
    {("Paper", ""): [" / ".join(published[name, column] for column in columns) for name in mnist.TABLE1[:3]]}
    | {
        ("k in this build", reading): [" / ".join(f"{values[name][c]:.2f}" for c in columns) for name in mnist.TABLE1[:3]]
        for reading, values in by_reading.items()
    },
    index=pd.Index(mnist.TABLE1[:3], name="network"),
)
Markdown(paper.to_markdown(table, "Training / test error in %, under three readings of the decay.", "tab-decay"))

# %% mystnb={"figure": {"caption": "Test error of the linear networks under three readings of the decay; grey bars are the paper's values.", "name": "fig-decay"}, "image": {"alt": "Bars of test error for three linear networks under three decay readings, with the paper's values marked."}} tags=["hide-input"]
plots.error_bars(
    {name: {reading: values[name]["test error (%)"] for reading, values in by_reading.items()} for name in mnist.TABLE1[:3]},
    {name: float(published[name, "test error (%)"]) for name in mnist.TABLE1[:3]},
    "Which decay did the paper use?",
);

# %% tags=["remove-cell"]
# The first two networks decide: the third's decay is so strong that its minimum is nearly flat.
distance = {
    reading: max(abs(values[name][c] - float(published[name, c])) for name in mnist.TABLE1[:2] for c in columns)
    for reading, values in by_reading.items()
}
best_reading = min(distance, key=distance.get)
glue("best_reading", best_reading, display=False)
glue("best_distance", distance[best_reading], display=False)
glue("literal_distance", distance[DecayRule.UNITS.value], display=False)

# %% [markdown]
# In this build the reading nearest to the paper on the first two networks is **{glue:text}`best_reading`**, off by at
# most {glue:text}`best_distance:.2f` points in any of the four errors; read literally, the sentence is off by up to
# {glue:text}`literal_distance:.2f`. Only at the paper's scale, with all 60,000 images, is that comparison a fair one:
# there $\tfrac{\lambda}{2}\sum w^2$ gives the first two rows of Table 1 to the digit printed, as the column *Recorded* of
# {numref}`tab-errors` shows. It is also what most code of the time did. The book uses it everywhere.
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
# the last term being that of the contractive autoencoder {cite:p}`rifai2011contractive`. Why these choices and not
# others is a story of its own, told at the end of this chapter.

# %% mystnb={"figure": {"caption": "A hundred of the 400 filters, each scaled to its own largest weight: grey is zero.", "name": "fig-filters"}, "image": {"alt": "A ten by ten grid of autoencoder filters that look like strokes and whole digits."}} tags=["hide-input"]
plots.image_grid(
    trained["AE400-10"].network.encoder.weight[:100], num_columns=20, title="What the autoencoder's units look for", symmetric=True
);

# %% [markdown]
# ## Table 1, the errors
#
# The paper's column is printed as published. *Recorded* is what this code measured once, at the paper's scale, on MNIST
# (`results/`); *This build* is what this very page measured. Brackets are 95 % Wilson intervals: with 10,000 test images
# an error near 2 % is known to about a quarter of a point, and no better.

# %%
cells = {}
for name, t in trained.items():
    for column, images in (("training error (%)", run.train), ("test error (%)", run.test)):
        wrong = round(training.error_rate(t.network, images.inputs, images.labels) * len(images))
        cells[name, column] = intervals.percent(wrong, len(images))

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
Markdown(paper.to_markdown(paper.compare("table1", cells, columns), "Errors of Table 1.", "tab-errors"))

# %% [markdown]
# The three linear classifiers and the two sigmoid networks need no excuse. Softmax 1 is the exception that the decay
# section announced: with a decay that strong, no reading gives the paper's 21.2 and 20 % exactly.
#
# ## Which autoencoder?
#
# The paper's sentence about the autoencoder allows almost anything, and almost anything gives worse numbers than the
# paper's. The two regularisers above are what matters. Leave one out, everything else equal:

# %%
from dataclasses import replace


def without(**weights):
    """The same experiment, whose autoencoder has other weights in its loss."""
    return replace(run, profile=replace(run.profile, autoencoder=replace(run.profile.autoencoder, **weights)))


variants = {
    "sparsity and contraction": trained["AE400-10"],
    "sparsity only": without(contraction=0.0).trained("AE400-10"),
    "contraction only": without(sparsity_weight=0.0).trained("AE400-10"),
}
images = run.train.take(200)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
ablation = pd.DataFrame(
    [
        {column: f"{value:.2f}" for column, value in errors(t.network).items()}
        | {"distortion, 200 images": f"{run.adversarial(t, images).distortion.mean():.4f}"}
        for t in variants.values()
    ],
    index=pd.Index(variants, name="loss of the autoencoder"),
)
Markdown(paper.to_markdown(ablation, "What each regulariser buys, in this build.", "tab-ablation"))

# %% [markdown]
# Sparsity makes the filters local, contraction makes them smooth. The second is the one to remember: a penalty on how
# fast the *code* changes with the *pixels* is a penalty on exactly what the next chapter exploits, and the distortion
# column shows it. Of everything we tried it alone brings AE400-10 to the rank that the paper reports, the most resistant
# of the six networks; whether the authors had something of the kind is not known.
#
# ## Check
#
# What later chapters rely on, asserted here:

# %%
assert all(t.result.status in ("converged", "out of iterations") for t in trained.values())
assert not any(p.requires_grad for t in trained.values() for p in t.network.parameters())
assert cells["100-100-10", "training error (%)"].value == cells["200-200-10", "training error (%)"].value == 0

# %% tags=["remove-cell"]
if run.profile.name == "paper":
    paper.record("table1", cells)
    close = {
        name: max(abs(cells[name, c].value - float(published[name, c])) for c in columns) for name in mnist.TABLE1
    }
    worst = max((name for name in close if name != "softmax 1"), key=close.get)
    paper.record_claim(
        "table1-errors",
        "reproduced" if close[worst] <= 0.5 else "partly",
        f"all but softmax 1 within {close[worst]:.2f} points ({worst}); softmax 1 off by {close['softmax 1']:.1f}",
    )
run.finish()
