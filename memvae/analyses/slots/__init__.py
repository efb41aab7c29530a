"""What each slot of the memory represents (Table 4, Figure 7)."""

from collections.abc import Mapping, Sequence
from typing import Any

from memvae.analyses import Analysis
from memvae.settings.rules import Whole
from memvae.settings.spec import Network


def refused(settings: Mapping[str, Any], networks: Sequence[Network]) -> str:
    if any(network.slots[0] for network in networks):
        return ""
    return "models: found none with slots next to the data, expected one or more (first number of slots), for Figure 7"


ANALYSIS = Analysis(
    version=2,
    settings={"top": Whole(1, note="slots of each class that are shown")},
    memory=True,
    labels=True,
    tables={"table4": "Table 4: preferred slots", "slots": "All slots"},
    figures={"fig7": "Figure 7: slots as images"},
    beside=("slots",),
    paper=("table4", "slots"),
    refused=refused,
)
