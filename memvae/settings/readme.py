"""`config/README.md`: every key of the configuration, written by `python -m memvae.settings.readme`.

What a key means and may be is said by its rule (schema.py, spec.py, the declarations of the analyses), its default by
config/config.yaml.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memvae.settings import config as configuration
from memvae.settings import schema
from memvae.settings.registry import NO_ANALYSES
from memvae.settings.rules import MISSING, Fields, ListOf, MapOf, Nothing, Rule
from memvae.settings.strict_yaml import read_yaml

README = Path("config/README.md")
HEAD = """# Configuration

Written by `python -m memvae.settings.readme`; do not edit.
[`config.yaml`](config.yaml) has every default with its source.
[Extending](../docs/extending.md) says how to change them, [Running](../docs/running.md#in-a-folder-of-your-own) where.
[`paper.yaml`](paper.yaml) has the authors' numbers and is no setting.

`<name>` stands for a name of your choice.
A number without a unit has none.
"""
ABOUT = {
    "datasets": """Defaults are those of a data set of your own; `config.yaml` has those of the four that are there.
What `datasets.<name>.training` leaves out is taken from `training`.""",
    "models": """A model is what it changes of its data set's network, and takes the rest from there.
Without them, `attention` is `sigmoid` and `composition` is `mlp`.""",
    "training": "All runs share these.",
    "runs": """Three lists of runs: `appendix` has those of the paper's appendix, `extended` those of the main text
and a reference model of ours.
The third, `own`, is empty.""",
    "analyses": "A block bears the name of a folder of `memvae/analyses`, or names a `module`.",
    "ablations": """An ablation is a model, varied along some axes.
[Extending](../docs/extending.md) shows how to add one.
With null in place of its block an ablation is left out.""",
    "scales": "A scale is what it changes; `config.yaml` has four.",
}


@dataclass(frozen=True)
class Key:
    """One row: the path of a key, its rule, its default where the configuration has one."""

    path: str
    rule: Rule
    default: Any = MISSING


def text() -> str:
    """All of config/README.md."""
    raw = read_yaml(configuration.ROOT / configuration.CONFIG)
    rules = schema.rules(raw["analyses"])
    single = [key for name, rule in rules.items() if name not in ABOUT for key in keys(name, rule, raw[name])]
    parts = [HEAD, _table(single)]
    for name, about in ABOUT.items():
        found = _analyses(rules[name], raw[name]) if name == "analyses" else keys(name, rules[name], raw[name])
        parts += [f"## {name}\n\n{about}\n", _table(found)]
    return "\n".join(parts)


def keys(path: str, rule: Rule, default: Any = MISSING) -> Iterator[Key]:
    """The keys below `path`, or itself where it holds a value. default: of the configuration, if it has one."""
    inner = rule.rule if isinstance(rule, MapOf | ListOf) else rule
    inner = inner.rule if isinstance(inner, Nothing) else inner
    if not isinstance(inner, Fields) or inner.partial:
        yield Key(path, rule, default)
    elif inner is not rule:  # the names, or the entries, are the user's
        for name, below in inner.rules.items():
            yield from keys(f"{path}.<name>.{name}" if isinstance(rule, MapOf) else f"{path}[].{name}", below)
    else:
        for name, below in inner.rules.items():
            given = default.get(name, MISSING) if isinstance(default, Mapping) else MISSING
            yield from keys(f"{path}.{name}", below, given)


def _analyses(rule: Any, raw: Mapping[str, Any]) -> Iterator[Key]:
    """Those of every analysis once, with the defaults that only some have."""
    for name in NO_ANALYSES:
        yield from keys(f"analyses.{name}", rule.rules[name], raw[name])
    yield from keys("analyses.<name>", Fields(schema.BLOCK))
    for name, block in raw.items():
        if name not in NO_ANALYSES:
            for key in keys(f"analyses.{name}", rule.rules[name], block):
                if key.path.rpartition(".")[2] not in schema.BLOCK or key.default is not MISSING:
                    yield key


def _table(found: Iterator[Key] | list[Key]) -> str:
    rows = [f"| `{key.path}` | {key.rule.note} | {_words(key.rule)} | {_default(key)} |" for key in found]
    return "\n".join(["| key | meaning | may be | default |", "|---|---|---|---|", *rows, ""])


def _words(rule: Rule) -> str:
    return "a mapping with any of their keys" if isinstance(rule, Fields) and rule.partial else rule.words


def _default(key: Key) -> str:
    value = key.rule.default if key.default is MISSING else key.default
    if value is MISSING:
        return "must be given"
    if value is None:
        return "left out"
    return f"`{value if isinstance(value, str) and value else json.dumps(value)}`"


if __name__ == "__main__":
    (configuration.ROOT / README).write_text(text())
