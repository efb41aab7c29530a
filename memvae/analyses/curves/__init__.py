"""The learning curves of every model."""

from memvae.analyses import Analysis

ANALYSIS = Analysis(version=3, of="models", needs=(), figures={"training": "Learning curves"}, records=("curves",))
