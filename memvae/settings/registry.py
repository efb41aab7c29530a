"""From a block of `analyses` in the configuration to the folder that it names. Standard library only."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from memvae.analyses import Analysis
from memvae.errors import InputError

PACKAGE = "memvae.analyses"
NO_ANALYSES = ("dataset", "classifier")  # keys of `analyses` that are no block of an analysis
KEYS = ("module", "models", "seeds")  # of every block: where the folder is, which models, which seeds


@dataclass(frozen=True)
class Registered:
    """An analysis of the configuration: its name, its package (`memvae.analyses.slots`), what it declares."""

    name: str
    reference: str  # `package.module:object` of an analysis outside memvae, else empty
    package: str
    declared: Analysis
    ablation: str = ""  # of which it is about, where it is about one

    def own(self, name: str) -> str:
        """A table or figure as its folder calls it: `ablation` for `ablation_memory`."""
        return name.removesuffix(f"_{self.ablation}") if self.ablation else name

    @property
    def folder(self) -> Path:
        """Where its captions are."""
        return Path(str(sys.modules[self.package].__file__)).parent

    def part(self, name: str) -> ModuleType:
        """Its module `compute` or `show`."""
        return importlib.import_module(f"{self.package}.{name}")


def registered(blocks: Mapping[str, Any]) -> dict[str, Registered]:
    """The analyses that the blocks of the configuration name, in their order.

    Raises InputError where one is not found, or two have a table or a figure of the same name.
    """
    found = {
        name: find(name, block.get("module", "") if isinstance(block, dict) else "")
        for name, block in blocks.items()
        if name not in NO_ANALYSES
    }
    for name, analysis in found.items():
        if analysis.declared.of == "ablation":
            raise InputError(f"analyses.{name}: found an analysis of ablations; put yours into `ablations`")
    owners: dict[str, str] = {}
    for name, analysis in found.items():
        one = analysis.declared
        for shown in (*one.tables, *one.extended, *one.figures, *one.extended_figures):
            if shown in owners:
                raise InputError(
                    f"analyses.{name}: found {shown!r}, a table or figure of {owners[shown]} too; expected another name"
                )
            owners[shown] = name
    return found


def of_ablations(titles: Mapping[str, str]) -> dict[str, Registered]:
    """The analysis `ablation` once for each ablation, whose name ends those of its tables and figures. By ablation."""

    def named(shown: Mapping[str, str], name: str) -> dict[str, str]:
        return {f"{own}_{name}": f"{title}: {titles[name]}" for own, title in shown.items()}

    found = find("ablation")
    changed = {
        name: replace(
            found.declared, tables=named(found.declared.tables, name), figures=named(found.declared.figures, name)
        )
        for name in titles
    }
    return {name: replace(found, declared=declared, ablation=name) for name, declared in changed.items()}


def find(name: str, reference: str = "") -> Registered:
    """The analysis of that name, or the one that `reference` names. Raises InputError where there is none."""
    package, _, attribute = (reference or f"{PACKAGE}.{name}:ANALYSIS").partition(":")
    where = f"analyses.{name}" + (".module" if reference else "")
    if not all(part.isidentifier() for part in (*package.split("."), attribute)):
        raise InputError(
            f"{where}: found {reference or name!r}, expected a module and the name of its declaration; write "
            "own.distances:ANALYSIS"
        )
    try:
        declared = getattr(importlib.import_module(package), attribute, None)
    except ModuleNotFoundError as error:
        if error.name != package and not package.startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        advice = "put its folder into PYTHONPATH" if reference else f"expected one of {', '.join(shipped())}"
        raise InputError(f"{where}: found no module {package!r}; {advice}") from None
    if not isinstance(declared, Analysis):
        raise InputError(f"{where}: {package} has no declaration {attribute!r}, expected a memvae.analyses.Analysis")
    return Registered(name, reference, package, declared)


def shipped() -> list[str]:
    """The names of the analyses in memvae/analyses."""
    folder = Path(str(sys.modules[PACKAGE].__file__)).parent
    return sorted(path.parent.name for path in folder.glob("*/__init__.py"))
