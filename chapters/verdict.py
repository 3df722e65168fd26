# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Verdict
#
# What the paper claims, by which criterion we judge each claim, and how it came out. Nobody writes a {term}`verdict`: each is a
# function of the tables in `results/` (`lib/record/claims.py`), and is computed anew whenever this page is built. Every
# chapter shows the same verdicts on the numbers of its own build beside those {term}`recorded`.

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
cards = overview.cards(published, judged)

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
# A claim has parts, most often the cells of a table. Each part is a deviation from what is claimed and has an {term}`interval`:
# 95 % over what was sampled, mostly images, or, where several {term}`seeds` were recorded, the range or Student's interval over
# seeds, for a claim speaks of a kind of network and not of one. Proven bounds and counts have no width. Then
#
# - **reproduced**: every part lies within the criterion's limit, with its whole interval;
# - **partly**: at least half of the parts do, whatever their intervals;
# - **not reproduced**: fewer do;
# - **contradicted**: the claim is one of mathematics, and one part lies beyond the limit with its whole interval, a
#   counterexample;
# - **not testable here**: there is no honest criterion that our networks and data could meet or miss;
# - **not recorded**: a number that the criterion needs has not been measured at the paper's scale.
#
# A criterion that {term}`luck` meets is worth little. Take the {term}`distortions <distortion>` of Table 1: deal the six that we measured anew among
# the six networks, two thousand times. How often are as many of them within 15 % of what the paper prints? That is **By
# luck**, folded in each claim: how often a table that has nothing but what is trivially known (there, which numbers occur)
# is judged at least as well as ours. It has to be at least *partly* reproduced to count, so that beside "not reproduced"
# it tells how often luck does better than we did. What is known is said for every claim in `lib/record/claims.py`; a claim
# of mathematics has no luck.

# %% mystnb={"markdown_format": "myst"}
Markdown(overview.of_claims(cards))

# %% [markdown]
# ## What was changed
#
# First, the rule above. That the whole interval has to lie within the limit, and that seeds decide where there are several,
# came on 2026-11-25, with the recorded numbers in view; until then a part was judged by its estimate, unless the
# criterion itself spoke of intervals. This touches all claims that there were by then, also those whose own criterion
# stayed as it was. Of the {glue:text}`num_claims` that there are now nine came later (`paper/README.md` says when, and what
# was known).
#
# Then, of the criteria themselves, {glue:text}`num_changed` are not those by which the claim was first judged. They, too,
# were changed when recorded numbers were in view, each for a reason of its own, which stands beside it; some have another
# limit since. For {glue:text}`num_mathematics` of them the change is, wholly or in part, that the kind of claim, mathematics
# or measurement, came into the rule only after verdicts on them had been recorded. Since a late criterion can be chosen to
# please, each one stands here with the verdict that it had given.

# %% mystnb={"markdown_format": "myst"}
Markdown(overview.of_changes(published))

# %% [markdown]
# The two claims of section 3 and their first criteria were put down before any unit was looked at. When most of the others
# were, earlier runs were in view, and one of those suggested the claim on convex losses; those on Figure 6 and on pools came
# before anything of them was recorded, and four took over the criteria of others when their numbers were known. The number
# of cars was raised from 64 to 100 after a first record, in which noise had turned none of the 64: so few cannot tell.
#
# ## On what this was measured

# %% mystnb={"markdown_format": "myst"}
Markdown(overview.of_runs(ledger.read("run.json")))

# %% [markdown]
# Minutes are those of the last run, which found its networks finished in the store (seeds 1 to 4 had to make theirs);
# how each fit ended, and how long it took on a busy machine, stands in `results/fits.csv`. Where a claim's evidence
# names no seeds it rests on one trained network of each kind, and no interval speaks of others. What it speaks of is
# what was counted: images as a rule; for section 3 units and directions; for a correlation of ranks the cells of the
# table. Those of Table 5 are no samples but proven bounds.
