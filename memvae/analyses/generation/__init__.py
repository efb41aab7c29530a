"""Generation with the memory disabled (Figure 6)."""

from memvae.analyses import Analysis

ANALYSIS = Analysis(version=1, memory=True, figures={"fig6": "Figure 6: memory disabled"})
