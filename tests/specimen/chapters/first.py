# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # First chapter
#
# ```{margin} A margin note
# Beside the text on a wide screen, in a line of its own on a phone.
# ```
#
# ## A section
#
# An {term}`adversarial example` has a length. Inline mathematics such as $\lVert \phi(x + r) - \phi(x) \rVert \le L \lVert r \rVert$, a long one on purpose.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %%
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from lib import shapes

# %% tags=["remove-cell"]
glue("dataset", "digits", display=False)
glue("smallest", min(shapes.parabola()), display=False)

# %% mystnb={"figure": {"caption": "A parabola, and what to see in it.", "name": "fig-parabola"}, "image": {"alt": "A parabola with its minimum at zero."}} tags=["hide-input"]
with plt.rc_context(shapes.STYLE):
    fig, ax = plt.subplots()
    ax.plot(shapes.parabola())
    ax.set(title="Down and up again", xlabel="step", ylabel="value (units)")

# %% [markdown]
# {numref}`fig-parabola` shows it, {numref}`tab-values` lists it.

# %% mystnb={"markdown_format": "myst"}
table = pd.DataFrame({f"a wide column {n}": shapes.parabola()[:3] for n in range(8)})
rows = ["|".join(f"{value:.3f}" for value in row) for row in table.to_numpy()]
head = ["|".join(table.columns), "|".join(["--:"] * len(table.columns))]
Markdown(
    "\n".join([":::{table} Values, computed.", ":name: tab-values", "", *(f"|{line}|" for line in head + rows), ":::"])
)
