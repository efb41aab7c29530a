"""How many trainable parameters each network of the paper has (Table 3)."""

from memvae.analyses import Analysis

ANALYSIS = Analysis(
    version=1,
    of="networks",
    needs=(),
    tables={"table3": "Table 3: parameters"},
    paper=("table3",),
)
