"""What each setting of the memory gains, over the base and over a VAE with as many parameters (`ablations`)."""

from memvae.analyses import Analysis

ANALYSIS = Analysis(
    version=1,
    of="ablation",
    reads=("likelihood", "slots"),
    tables={"ablation": "Ablation"},
    figures={"ablation_gains": "Gains", "ablation_parameters": "Parameters and log-likelihood"},
)
