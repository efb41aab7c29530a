"""Generation with the memory disabled (Figure 6)."""

from memvae.analyses import Analysis
from memvae.settings.rules import Whole

ANALYSIS = Analysis(
    version=1,
    settings={"draws": Whole(1, note="draws of z from the prior")},
    memory=True,
    figures={"fig6": "Figure 6: memory disabled"},
)
