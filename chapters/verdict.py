# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Verdict
#
# What the paper claims, by which criterion we judge each claim, and how it came out. Nobody writes a verdict: each is a
# function of the tables in `results/` (`lib/record/claims.py`), and is computed anew whenever this page is built. Every
# chapter shows the same verdicts on the numbers of its own build beside those recorded.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"]
from IPython.display import Markdown
from myst_nb import glue

from lib.record import claims, ledger, overview
from lib.record.markdown import tell

glue("dataset", "as recorded", display=False)

# %%
published = ledger.published("claims")
judged = claims.judged(ledger.everything_recorded())

# %%
mathematics = overview.changed(published).query("kind == 'mathematics'")
tell(
    num_claims=len(published),
    num_changed=len(overview.changed(published)),
    num_mathematics=len(mathematics),
)

# %% [markdown]
# ## How a verdict is reached
#
# A claim has parts, most often the cells of a table. Each part is a deviation from what is claimed and has an interval:
# 95 % over images, or, where several seeds were recorded, the range or Student's interval over seeds, for a claim speaks
# of a kind of network and not of one. Proven bounds and counts have no width. Then
#
# - **reproduced**: every part lies within the criterion's limit, with its whole interval;
# - **partly**: at least half of the parts do, whatever their intervals;
# - **not reproduced**: fewer do;
# - **contradicted**: the claim is one of mathematics, and one part lies beyond the limit with its whole interval, a
#   counterexample;
# - **not testable here**: there is no honest criterion that our networks and data could meet or miss;
# - **not recorded**: a number that the criterion needs has not been measured at the paper's scale.
#
# A criterion that luck meets is worth little. **By luck** is how often a table comes out as well in which only what is
# trivially known is right, mostly because its cells were dealt anew among those that are trivially alike. What is known is
# said for every claim in `lib/record/claims.py`; a claim of mathematics has no luck.

# %% mystnb={"markdown_format": "myst"}
Markdown(overview.of_claims(published, judged))

# %% [markdown]
# ## What was changed
#
# Of the {glue:text}`num_claims` criteria {glue:text}`num_changed` are not those by which the claim was first judged. They
# were changed when the recorded numbers were in view, because they could not fail, were met by luck, compared unlike
# things, or called an estimate evidence whose interval crossed the limit; some have another limit since. For
# {glue:text}`num_mathematics` of them the change is, wholly or in part, that the kind of claim, mathematics or measurement,
# came into the rule only after verdicts on them had been recorded. Since a late criterion can be chosen to please, each one
# stands here with the verdict that it had given.

# %% mystnb={"markdown_format": "myst"}
Markdown(overview.of_changes(published))

# %% [markdown]
# The two claims of section 3 and their first criteria were put down before any unit was looked at. When the others were,
# earlier runs were in view, and one of those suggested the claim on convex losses.
#
# ## On what this was measured

# %% mystnb={"markdown_format": "myst"}
Markdown(overview.of_runs(ledger.read("run.json")))

# %% [markdown]
# Minutes are those of the last run, which takes finished networks from the store; how each fit ended, and how long it took
# on a busy machine, stands in `results/fits.csv`. Where a claim's evidence names no seeds it rests on one, and its
# intervals speak of images, not of networks.
#
# Adversarial training is still to come; its claims join the table with its chapter.
