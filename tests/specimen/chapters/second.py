# %% [markdown]
# # Second chapter
#
# The smallest value of {doc}`first` is {glue:text}`first.ipynb::smallest:.3f`; its figure is {numref}`fig-parabola`.
# The former is {glue:text}`first.ipynb::smallest:.1f` % of one, or 0 % of two.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"]
import sys

print(sys.executable)
print(profile, data, device, seed)

# %% [markdown]
# ## What few ask for
#
# The beginning of a section.
#
# :::{more} The rest, for those who ask
# :::
#
# What is folded.

# %%
print("and a cell of it")

# %% [markdown]
# ## What all read
#
# This is not folded.
