"""From a block of `analyses` in the configuration to the folder that it names. Standard library only."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from memvae.analyses import EXTENDED, Analysis
from memvae.errors import InputError
from memvae.settings.rules import imported, known

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
        """What its folder calls a table or figure: `ablation` for `ablation_memory`, `fig7` for `fig7_extended`."""
        if name in self.declared.tables or name in self.declared.figures:
            return name.removesuffix(f"_{self.ablation}") if self.ablation else name
        return name.removesuffix(EXTENDED)

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
    found: dict[str, Registered] = {}
    owners: dict[str, str] = {}
    for name, block in blocks.items():
        if name in NO_ANALYSES:
            continue
        found[name] = find(name, block.get("module", "") if isinstance(block, dict) else "")
        declared = found[name].declared
        if declared.of == "ablation":
            raise InputError(f"analyses.{name}: found an analysis of ablations; put yours into `ablations`")
        for shown in declared.shown:
            if owners.setdefault(shown, name) != name:
                raise InputError(
                    f"analyses.{name}: found {shown!r}, a table or figure of {owners[shown]} too; expected another name"
                )
    return found


def of_ablations(titles: Mapping[str, str]) -> dict[str, Registered]:
    """The analysis `ablation` once for each ablation, whose name ends those of its tables and figures. By ablation."""

    found, changed = find("ablation"), {}
    for name, ablation in titles.items():
        tables, figures = (
            {f"{own}_{name}": f"{title}: {ablation}" for own, title in shown.items()}
            for shown in (found.declared.tables, found.declared.figures)
        )
        changed[name] = replace(found, declared=replace(found.declared, tables=tables, figures=figures), ablation=name)
    return changed


def find(name: str, reference: str = "") -> Registered:
    """The analysis of that name, or the one that `reference` names. Raises InputError where there is none."""
    if not reference:
        known(f"analyses.{name}", name, shipped())
    declaration = reference or f"{PACKAGE}.{name}:ANALYSIS"
    declared = imported(f"analyses.{name}.module", declaration)
    if not isinstance(declared, Analysis):
        raise InputError(f"analyses.{name}.module: found {declaration}, expected a memvae.analyses.Analysis")
    return Registered(name, reference, declaration.partition(":")[0], declared)


def shipped() -> list[str]:
    """The names of the analyses in memvae/analyses."""
    folder = Path(str(sys.modules[PACKAGE].__file__)).parent
    return sorted(path.parent.name for path in folder.glob("*/__init__.py"))
