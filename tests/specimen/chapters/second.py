# %% [markdown]
# # Second chapter
#
# The smallest value of {doc}`first` is {glue:text}`first.ipynb::smallest:.3f`; its figure is {numref}`fig-parabola`.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"]
import sys

print(sys.executable)
print(profile, data, device, seed)
