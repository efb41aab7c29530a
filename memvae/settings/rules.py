"""The allowed values of a setting: one definition for YAML, JSON, Python and the documentation. Standard library only.

A rule checks a value: `check(value, where)` returns it (a whole float as a whole number) or raises InputError, which
names `where`, what was found, what is expected and, where it helps, what to write. `default` makes a key optional;
`note` says what the key means (config/README.md is made from these notes).
"""

import ast
import importlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from memvae.errors import InputError

MISSING: Any = "no default"
SEEDS = 2**32 - 1  # scikit-learn's limit
MOST = 2**53  # whole numbers up to here are exact as floats


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """`words` say what is expected. default: makes a key optional; None: it is left out."""

    default: Any = MISSING
    note: str = ""

    @property
    @abstractmethod
    def words(self) -> str: ...

    @abstractmethod
    def check(self, value: Any, where: str) -> Any: ...


def refuse(where: str, value: Any, expected: str, advice: str = "") -> NoReturn:
    """Raises InputError: what was found, shortened, and what is expected."""
    shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:57]}..."
    raise InputError(f"{where}: found {shown}, expected {expected}{'; ' if advice else ''}{advice}")


def known(where: str, name: Any, names: Iterable[str]) -> None:
    """Raises InputError when a name is none of those that there are."""
    if name not in (names := list(names)):
        raise InputError(f"{where}: found {name!r}, expected one of {', '.join(names)}")


def imported(where: str, reference: str) -> Any:
    """The object that `package.module:object` names. Raises InputError where there is none."""
    package, _, attribute = reference.partition(":")
    try:
        if not all(part.isidentifier() for part in (*package.split("."), attribute)):
            raise AttributeError
        return getattr(importlib.import_module(package), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        missing = getattr(error, "name", None)
        if isinstance(error, ModuleNotFoundError) and missing != package and not package.startswith(f"{missing}."):
            raise  # the module is there; something that it imports is not
        refuse(where, reference, "the name of a module and of an object in it", "put its folder into PYTHONPATH")


def user_path(path: str, where: str) -> Path:
    """A path of the user's, `~` replaced. Raises InputError where it names a home that is not there."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        refuse(where, path, "the home of a user of this machine after ~", "write the folder in full")


@dataclass(frozen=True)
class Whole(Rule):
    least: int = 0
    most: int = MOST

    def check(self, value: Any, where: str) -> int:
        whole = int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MOST else value
        if isinstance(whole, bool) or not isinstance(whole, int) or not self.least <= whole <= self.most:
            advice = "several are written 'seeds=[0,1,2]', with the quotes" if where.startswith("seeds") else ""
            refuse(where, value, self.words, advice)
        return whole

    @property
    def words(self) -> str:
        return f"a whole number from {self.least}" + ("" if self.most == MOST else f" to {self.most:,}")


@dataclass(frozen=True)
class Real(Rule):
    least: float = -math.inf
    most: float = math.inf
    open_below: bool = False  # `least` itself is not allowed
    open_above: bool = False

    def check(self, value: Any, where: str) -> float:
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", value):
            mantissa, exponent = value.split("e")
            refuse(where, value, self.words, f"YAML reads this as text: write {mantissa}.0e{exponent}")
        number = not isinstance(value, bool) and isinstance(value, int | float) and abs(value) < MOST
        low = number and (self.least < value or (self.least == value and not self.open_below))
        high = number and (value < self.most or (self.most == value and not self.open_above))
        if not (low and high):
            refuse(where, value, self.words)
        return value

    @property
    def words(self) -> str:
        low = f" {'above' if self.open_below else 'from'} {self.least:g}" if self.least > -math.inf else ""
        high = f" {'below' if self.open_above else 'up to'} {self.most:g}" if self.most < math.inf else ""
        return f"a number{low}{high}"


@dataclass(frozen=True)
class OneOf(Rule):
    names: tuple[str, ...]

    def check(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or value not in self.names:
            refuse(where, value, self.words)
        return value

    @property
    def words(self) -> str:
        return "one of " + ", ".join(self.names)


@dataclass(frozen=True)
class Flag(Rule):
    def check(self, value: Any, where: str) -> bool:
        if not isinstance(value, bool):
            refuse(where, value, self.words)
        return value

    @property
    def words(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Text(Rule):
    """Text of one line. shape: a pattern that all of it matches, and in `said` what that means."""

    said: str = "text of one line"
    shape: str = ""

    @property
    def words(self) -> str:
        return self.said

    def check(self, value: Any, where: str) -> str:
        plain = isinstance(value, str) and value.isprintable() and len(value) <= 1000
        if not plain or (self.shape and not re.fullmatch(self.shape, value)):
            refuse(where, value, self.words)
        return value


@dataclass(frozen=True)
class ListOf(Rule):
    rule: Rule
    least: int = 0  # entries
    most: int = 10000
    different: bool = False

    def check(self, value: Any, where: str) -> list[Any]:
        if not isinstance(value, list | tuple) or not self.least <= len(value) <= self.most:
            refuse(where, value, self.words)
        checked = [self.rule.check(item, f"{where}.{place}") for place, item in enumerate(value)]
        if self.different and len(set(map(str, checked))) < len(checked):
            refuse(where, value, "entries that differ")
        return checked

    @property
    def words(self) -> str:
        count = f" of {self.least}" if self.least == self.most else f" of at least {self.least}" if self.least else ""
        return f"a list{count}, each {self.rule.words}"


@dataclass(frozen=True)
class MapOf(Rule):
    """A mapping from names that the user chooses."""

    rule: Rule
    names: Text = Text()

    def check(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            refuse(where, value, self.words)
        for name in value:
            self.names.check(name, where)
        return {name: self.rule.check(item, f"{where}.{name}" if where else name) for name, item in value.items()}

    @property
    def words(self) -> str:
        return f"a mapping from {self.names.words} to {self.rule.words}"


@dataclass(frozen=True)
class Fields(Rule):
    """A mapping with known keys, each with a rule of its own. partial: any key may be left out."""

    rules: Mapping[str, Rule]
    partial: bool = False

    def check(self, value: Any, where: str) -> dict[str, Any]:
        here = where or "config"
        if not isinstance(value, dict):
            refuse(here, value, self.words)
        if unknown := [key for key in value if key not in self.rules]:
            raise InputError(f"{here}: found the unknown key {unknown[0]!r}, expected one of {', '.join(self.rules)}")
        checked = {}
        for name, rule in self.rules.items():
            if name in value:
                checked[name] = rule.check(value[name], f"{where}.{name}" if where else name)
            elif not self.partial and rule.default is MISSING:
                raise InputError(f"{here}: the key {name!r} is missing, expected {rule.words}")
            elif not self.partial and rule.default is not None:
                checked[name] = rule.default
        return checked

    @property
    def words(self) -> str:
        return f"a mapping with the keys {', '.join(self.rules)}" if self.rules else "an empty mapping, {}"


@dataclass(frozen=True)
class Either(Rule):
    """Whichever of two rules fits the kind of value: a list, or a single one."""

    single: Rule
    many: Rule

    def check(self, value: Any, where: str) -> Any:
        return (self.many if isinstance(value, list | tuple) else self.single).check(value, where)

    @property
    def words(self) -> str:
        return f"{self.single.words}, or {self.many.words}"


@dataclass(frozen=True)
class Nothing(Rule):
    """null, or what the rule says."""

    rule: Rule

    def check(self, value: Any, where: str) -> Any:
        return None if value is None else self.rule.check(value, where)

    @property
    def words(self) -> str:
        return f"{self.rule.words}, or null"


def keys_in_source(path: Path, dictionary: str) -> tuple[str, ...]:
    """The keys of a dictionary in a module that is not imported here, since it needs torch."""
    for node in ast.parse(path.read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == dictionary and isinstance(value, ast.Dict):
            return tuple(str(key.value) for key in value.keys if isinstance(key, ast.Constant))
    raise KeyError(f"{path} has no dictionary {dictionary}")
