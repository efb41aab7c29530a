"""`config/README.md`: every key of the configuration, written by `python -m memvae.settings.readme`.

The meaning and the possible values of a key come from its rule (schema.py, spec.py, the declarations of the analyses),
its default from config/config.yaml.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
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
[Extending](../docs/extending.md) says how to change settings.
[Running](../docs/running.md#in-a-folder-of-your-own) says where your own configuration is found.
[`paper.yaml`](paper.yaml) has the authors' numbers, not settings.

`<name>` stands for a name of your choice.
A number has a unit only if one is given.
"""
ABOUT = {
    "datasets": """These defaults are for your own data set.
`config.yaml` has the values of the four data sets that we provide.
Keys that `datasets.<name>.training` leaves out are taken from `training`.""",
    "models": """A model has the keys in which it differs from its data set's network.
It takes all other keys from there.
By default, `attention` is `sigmoid` and `composition` is `mlp`.""",
    "training": "All runs use these settings.",
    "runs": """There are three lists of runs.
`appendix` has the runs of the paper's appendix, `extended` those of the main text and a reference model of ours.
`own` is empty, for your runs.""",
    "analyses": "The name of a block is that of a folder in `memvae/analyses`, or the block names a `module`.",
    "ablations": """An ablation is a model that is varied along some axes.
[Extending](../docs/extending.md) shows how to add one.
With null instead of its block, an ablation is left out.""",
    "scales": "A scale has the keys in which it differs from the settings above.",
}


def text() -> str:
    """All of config/README.md."""
    raw = read_yaml(configuration.ROOT / configuration.CONFIG)
    rules = schema.rules(raw["analyses"])
    parts = [HEAD, _table(row for name in rules if name not in ABOUT for row in _rows(name, rules[name], raw[name]))]
    for name, about in ABOUT.items():
        found = _analyses(rules[name], raw[name]) if name == "analyses" else _rows(name, rules[name], raw[name])
        parts += [f"## {name}\n\n{about}\n", _table(found)]
    return "\n".join(parts)


def _rows(path: str, rule: Rule, default: Any = MISSING) -> Iterator[str]:
    """The rows of the keys below `path`, or its own where it holds a value. default: of the configuration, if any."""
    inner = rule.rule if isinstance(rule, MapOf | ListOf) else rule
    inner = inner.rule if isinstance(inner, Nothing) else inner
    if not isinstance(inner, Fields) or inner.partial:
        words = "a mapping with any of their keys" if isinstance(rule, Fields) else rule.words
        yield f"| `{path}` | {rule.note} | {words} | {_default(rule.default if default is MISSING else default)} |"
    elif inner is not rule:  # the names, or the entries, are the user's
        for name, below in inner.rules.items():
            yield from _rows(f"{path}.<name>.{name}" if isinstance(rule, MapOf) else f"{path}[].{name}", below)
    else:
        for name, below in inner.rules.items():
            yield from _rows(f"{path}.{name}", below, default.get(name, MISSING) if default is not MISSING else MISSING)


def _analyses(rule: Any, raw: Mapping[str, Any]) -> Iterator[str]:
    """Those of every analysis once, with the defaults that only some have."""
    for name in NO_ANALYSES:
        yield from _rows(f"analyses.{name}", rule.rules[name], raw[name])
    yield from _rows("analyses.<name>", Fields(schema.BLOCK))
    for name, block in raw.items():
        if name not in NO_ANALYSES:
            own = {key: one for key, one in rule.rules[name].rules.items() if key in block or key not in schema.BLOCK}
            yield from _rows(f"analyses.{name}", Fields(own), block)


def _table(rows: Iterable[str]) -> str:
    return "\n".join(["| key | meaning | allowed values | default |", "|---|---|---|---|", *rows, ""])


def _default(value: Any) -> str:
    if value is MISSING:
        return "must be given"
    if value is None:
        return "left out"
    return f"`{value if isinstance(value, str) and value else json.dumps(value)}`"


if __name__ == "__main__":
    (configuration.ROOT / README).write_text(text())
