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
# What the paper claims, by which criterion we judge each claim, and how it came out. The verdicts are written by the
# chapters themselves when they run at the paper's scale, never by hand: *reproduced* if every part of a claim lies within
# the criterion's limit, *partly* if at least half of them do. Where the claim is one of mathematics a single part beyond
# the limit is a counterexample, and the claim is *contradicted*. No limit was changed after a recorded run, and the two
# claims of section 3 were put down before any unit was looked at; when the others were, earlier runs were in view, and
# one of those suggested the claim on convex losses.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"]
import json

import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from lib.record import claims, markdown, tables

glue("dataset", "as recorded", display=False)

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
claims = tables.published("claims").set_index("id")
judged = claims.recorded_claims().set_index("id").reindex(claims.index)
table = pd.DataFrame(
    {
        "claim": claims["claim"],
        "criterion": claims["criterion"],
        "verdict": "**" + judged["verdict"].fillna("not yet recorded") + "**",
        "evidence": judged["evidence"].fillna("–"),
        "chapter": [f"[]({chapter})" for chapter in claims["chapter"]],
    }
).set_index(claims["section"].rename("section"))
Markdown(markdown.to_markdown(table, "The paper's claims so far.", "tab-claims", align="left"))

# %% [markdown]
# ## On what this was measured

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
path = tables.RESULTS / "run.json"
runs = json.loads(path.read_text()) if path.exists() else {}
facts = {
    chapter: {
        "commit": run["commit"][:10] + ("+" if run["commit"].endswith("+") else ""),
        "date": run["date"][:10],
        "data": run["data"]["name"],
        "device": f"{run['device']}, {run['machine']['cores']} cores ({run['machine']['processor']})",
        "PyTorch": run["versions"]["torch"],
        "minutes": f"{run['seconds'] / 60:.1f}",
    }
    for chapter, run in runs.items()
}
Markdown(
    markdown.to_markdown(pd.DataFrame(facts).T.rename_axis("chapter"), "The recorded runs.", "tab-runs", align="left")
    if facts
    else "No run at the paper's scale has been recorded yet."
)

# %% [markdown]
# Minutes are those of the last run, which takes finished networks from the store; how each fit ended, and how long it took
# on a busy machine, stands in `results/fits.json`. The verdicts rest on one seed, so their intervals speak of images, not of
# networks; what five seeds give stands beside the numbers of Tables 1 to 4.
#
# Adversarial training is still to come; its claims join the table with its chapter.
