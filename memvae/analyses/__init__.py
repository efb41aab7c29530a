"""The analyses of the paper, one folder for each.

`__init__.py` declares the analysis (`Analysis`, below; standard library only, since Snakemake reads it at every dry
run). `compute.py` computes arrays from a model and data (with torch). `show.py` makes numbers, tables, figures, claims
and text from the arrays (without torch). `<target>.rst` is the caption of a table or figure in Snakemake's report.
The blocks of `analyses` in the configuration name the folders. Rule, subcommand, targets, cost, archive, report and
page follow from the declaration. docs/extending.md shows how to add an analysis.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memvae.settings.spec import Network

KINDS = ("table", "figure")
EXTENDED = "_extended"  # ends the name of a table or figure that shows the main text's models too


@dataclass(frozen=True)
class Work:
    """What an analysis of one model computes, for planning: rows that pass through the decoder, rows that pass through
    encoder and decoder, and seconds of everything else on one core."""

    decoder_rows: float = 0
    network_rows: float = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Analysis:
    """The declaration of an analysis."""

    version: int  # raise it when results change: what was computed before is then computed again
    settings: Mapping[str, Any] = field(default_factory=dict)  # name -> rule (memvae/settings/rules.py)
    # run: a file per run; networks: one file about all networks; models: drawn from the model files;
    # ablation: once for each ablation, drawn from the files of `reads`
    of: str = "run"
    reads: tuple[str, ...] = ()  # analyses of runs
    needs: tuple[str, ...] = ("data",)  # files beside the model: data, classifier
    memory: bool = False  # it is about models with memory only
    labels: bool = False  # it needs a data set with labels
    tables: Mapping[str, str] = field(default_factory=dict)  # name -> title in Snakemake's report
    figures: Mapping[str, str] = field(default_factory=dict)
    extended: tuple[str, ...] = ()  # of these, those that come as `<name>_extended` too, with the main text's models
    beside: tuple[str, ...] = ()  # tables that the page of results only links to
    records: tuple[str, ...] = ()  # further .csv files beside the page, RECORDS of `show.py`
    paper: tuple[str, ...] = ()  # tables of config/paper.yaml that its numbers are compared with
    work: Callable[["Network", Mapping[str, Any], int, int], Work] | None = None  # without it it takes seconds
    # of settings and networks that its tables and figures cannot be made of: the key, what is found, what is expected
    refused: Callable[[Mapping[str, Any], Sequence["Network"]], str] | None = None

    def titles(self, kind: str, extended: bool = False) -> Mapping[str, str]:
        """Name and title of each `table` or `figure`; `extended`: of those with the main text's models."""
        plain = self.tables if kind == "table" else self.figures
        more = {f"{name}{EXTENDED}": f"{plain[name]}, main text too" for name in self.extended if name in plain}
        return more if extended else plain

    @property
    def shown(self) -> dict[str, tuple[str, str]]:
        """Every table and figure, those with the main text's models too: name -> kind and title."""
        both = [(kind, self.titles(kind, extended)) for kind in KINDS for extended in (False, True)]
        return {name: (kind, title) for kind, titles in both for name, title in titles.items()}
