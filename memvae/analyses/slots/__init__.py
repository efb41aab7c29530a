"""What each slot of the memory stands for (Table 4, Figure 7)."""

from memvae.analyses import Analysis
from memvae.settings.rules import Whole

ANALYSIS = Analysis(
    version=2,
    settings={"top": Whole(1, note="slots of each class that are shown")},
    memory=True,
    labels=True,
    tables={"table4": "Table 4: preferred slots", "slots": "All slots"},
    figures={"fig7": "Figure 7: slots as images"},
    beside=("slots",),
    paper=("table4", "slots"),
)
