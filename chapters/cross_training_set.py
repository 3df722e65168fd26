# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Networks that never saw the same image
#
# That an example made for one network fools another might have a dull reason: both learned from the same 60,000 images,
# and share whatever is peculiar to them. So split the images into two halves that have nothing in common, train a network
# on each, and ask again. This chapter rebuilds Tables 3 and 4.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
from IPython.display import Markdown
from myst_nb import glue

from lib import attack, config, experiment, paper, plots, transfer

run = experiment.begin("cross_training_set", profile, data, device, seed)

glue("dataset", run.train.name, display=False)
Markdown(run.banner)

# %% [markdown]
# ## Three networks on two halves
#
# $M_1$ and $M_3$ have the same architecture and see different halves; $M_2$ shares $M_1$'s half and has another
# architecture. The paper does not say how they were initialised. $M_3$ gets first weights of its own: with $M_1$'s, the
# two would have more in common than an architecture.

# %%
trained = {name: run.trained_on_half(name) for name in experiment.HALVES}
networks = {name: t.network for name, t in trained.items()}
described = {name: f"{name}: {network} on {half}" for name, (network, half) in experiment.HALVES.items()}

# %% [markdown]
# Unlike for Table 2, the images distorted are those of the **test** set, which none of the three has seen.

# %%
images = run.test.take(run.profile.num_attacked)
results = {name: run.adversarial(t, images) for name, t in trained.items()}
adversarial = {name: result.adversarial for name, result in results.items()}

table3 = transfer.table3(networks, run.parts) | transfer.distortions(adversarial, images.inputs)
table3 = {(described[name], column): estimate for (name, column), estimate in table3.items()}

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
if run.records:
    paper.record("table3", table3)
columns = [*run.parts, "distortion"]
Markdown(paper.to_markdown(paper.compare("table3", table3, columns), "Table 3: the three networks.", "tab-three"))

# %% [markdown]
# ## Table 4
#
# The lower half of the table makes the perturbations louder, all to the same size. Here the text has a slip. It prints
#
# $$ x + 0.1 \, \frac{x' - x}{\lVert x' - x \rVert_2} , $$
#
# whose perturbation has length 0.1, and therefore a standard deviation over the $m = 784$ pixels of
# $0.1 / \sqrt{784} = 0.0036$: *less* than before. What was meant must be a standard deviation of 0.1, which takes a factor
# $\sqrt{m} = 28$ more. We compute both.

# %%
sets = transfer.table4_images(adversarial, images.inputs, config.generator(run.seeds.noise))
cells = transfer.error_rates(transfer.answers(networks, sets), images.labels)

# %% tags=["remove-cell"]
if run.records:
    paper.record("table4", cells)
sizes = {row: float(attack.distortion(changed, images.inputs).mean()) for row, changed in sets.items()}
glue("printed_size", sizes["M1 as printed"], display=False)
for name in networks:
    assert cells[f"distorted for {name}", name].value >= 99, name
    assert abs(sizes[f"{name} amplified to 0.1"] - 0.1) < 0.005, sizes

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
caption = (
    "Table 4: error in per cent of each network. In every cell: **the paper**, recorded at the paper's scale with its "
    "95 % interval, mean and range over the seeds of `make spread`, this build. The last three rows take the printed formula at its word."
)
Markdown(paper.to_markdown(paper.stacked("table4", cells, list(sets), list(networks), "images"), caption, "tab-four"))

# %% tags=["remove-cell"]
printed = paper.values("table4")
own = {(f"distorted for {name}", name) for name in networks} | {(f"{name} amplified to 0.1", name) for name in networks}
others = {cell: value for cell, value in printed.items() if cell not in own}
recorded = paper.recorded_values("table4")
now = {cell: estimate.value for cell, estimate in cells.items()}
agreed = transfer.agreement(recorded or now, others)
glue("source", "At the paper's scale" if recorded else "In this build", display=False)
glue("spearman", agreed["spearman"], display=False)
glue("median_difference", agreed["median_difference"], display=False)
glue("num_cells", agreed["num_cells"], display=False)

# %% mystnb={"figure": {"caption": "Table 4 as a picture: the paper's and this build's.", "name": "fig-four"}, "image": {"alt": "Two tables of error rates, coloured: the amplified rows are bright, the rows of noise dark."}} tags=["hide-input"]
rows = [row for row in sets if not row.endswith("as printed")]


plots.matrices(
    {
        "the paper": (rows, list(networks), paper.grid(printed, rows, list(networks))),
        "this build": (rows, list(networks), paper.grid(now, rows, list(networks))),
    },
    "Another half of the data, the same weakness",
)
# %% [markdown]
# {glue:text}`source`, our {glue:text}`num_cells` cells off the diagonal rank as the paper's do with a Spearman
# correlation of {glue:text}`spearman:.3f`, and half of them differ by less than {glue:text}`median_difference:.1f` points.
#
# Two readings of the table. At their own, minimal size the perturbations do carry over to a network that has seen none of
# the same images, though much less than to one that shares its data or its architecture. And at a standard deviation of 0.1,
# at which noise is harmless, they carry over massively. A perturbation with the printed formula's mean size of
# {glue:text}`printed_size:.4f` does nothing at all, which settles what was meant.

# %% tags=["remove-cell"]
if run.records:
    measured = transfer.agreement(now, others)
    paper.record_claim(
        "cross-training-rank",
        {"1 - Spearman's correlation": 1 - measured["spearman"]},
        f"Spearman {measured['spearman']:.3f} over {len(others)} cells, median absolute "
        f"difference {measured['median_difference']:.1f} points",
    )
    noise = {column: cells["Gaussian noise, stddev 0.1", column] for column in networks}
    ahead = {
        f"{name} on {column}": float(cells[f"{name} amplified to 0.1", column].low <= noise[column].high)
        for name in networks
        for column in networks
        if name != column
    }
    least = min(cells[f"{n} amplified to 0.1", c].value for n in networks for c in networks if n != c)
    paper.record_claim(
        "cross-training",
        ahead,
        f"amplified to 0.1, at least {least:.1f} % of the other networks' answers are wrong; under noise of that size at "
        f"most {max(estimate.value for estimate in noise.values()):.1f} %",
    )
run.finish()
