"""From a block of `ablations` in the configuration to its models. Standard library only.

The models are the base with one setting changed at a time, combinations of crossed settings, and for each of them a VAE
with as many parameters.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from memvae.settings.rules import Fields, Nothing, Rule, refuse
from memvae.settings.spec import Network, RunSpec
from memvae.settings.work import parameters

MOST = 2**20  # units by which a layer is made wider
# Without a memory these change nothing, so such a model keeps the base's: it is one run, not several.
OF_MEMORY = ("attention", "composition", "training.reconstruction_weight", "training.reconstruction_draw")

Changes = Mapping[str, Any]  # key of a model, `k`, or `training.<key>` -> value
Resolve = Callable[[Changes], RunSpec]  # the base with some changes


@dataclass(frozen=True)
class Axes(Rule):
    """The axes of an ablation. keys: what may vary, and the rule of each.

    An axis is a list of values of the key that it is named after, or a mapping from labels to changes of several keys.
    """

    keys: Mapping[str, Rule]

    @property
    def words(self) -> str:
        return "a mapping from a key of a model, k or training.<key> to a list of values"

    def check(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            refuse(where, value, self.words)
        rule = Fields(self.keys, partial=True)
        for name, axis in value.items():
            if isinstance(axis, dict):
                for label, changes in axis.items():
                    Nothing(rule).check(changes, f"{where}.{name}.{label}")
            elif isinstance(axis, list) and axis:
                for one in axis:
                    rule.check({name: one}, where)
            elif axis is not None:
                refuse(f"{where}.{name}", axis, "a list of values, or a mapping from labels to changes")
        return value


@dataclass(frozen=True)
class Variant:
    """One model of an ablation. equal: the name in `Plan.variants` of the VAE with as many parameters, else empty."""

    changes: Changes
    title: str
    parameters: int
    equal: str = ""


@dataclass(frozen=True)
class Plan:
    """An ablation: its models by name, the base first, and of each axis the labels with the names of their models.

    A name stands for a model with its K: two specifications that are equal have one name.
    """

    variants: Mapping[str, Variant]
    axes: Mapping[str, list[tuple[str, str]]]


def plan(block: Mapping[str, Any], base: str, resolve: Resolve, known: Mapping[Any, str]) -> Plan:
    """The models of an ablation. base: its name; known: specifications of existing runs, and what those are called.

    The name of a new model is the base and its changes, so it means the same in every ablation.
    """
    common = {"training.epochs": block["epochs"]} if "epochs" in block else {}
    names: dict[Any, str] = {**known, key_of(resolve({})): base}
    variants: dict[str, Variant] = {}

    def add(changes: Changes, title: str) -> str:
        """Enters the model, unless an equal one is there; returns its name."""
        spec = resolve(changes)
        if not spec.network.has_memory:
            changes = {key: value for key, value in changes.items() if key not in OF_MEMORY}
            spec = resolve(changes)
        for key in list(changes):  # the base's own value is no change
            without = {other: value for other, value in changes.items() if other != key}
            changes = without if resolve(without) == spec else changes
        name = names.setdefault(key_of(spec), _name(base, changes))
        place = f"{name}-k{spec.training.samples}"
        if place not in variants:
            variants[place] = Variant(changes, title, parameters(spec.network))
            if spec.network.has_memory:
                hidden = equal_hidden(spec)
                words = f"VAE {', '.join(map(str, hidden))}" + (f", beside {title}" if title else "")
                beside = {**changes, "slots": 0, "hidden": list(hidden)}
                variants[place] = replace(variants[place], equal=add(beside, words))
        return place

    add(common, "")
    values = {name: _labelled(name, axis) for name, axis in block["axes"].items() if axis}
    sets = [(name,) for name in values] + [tuple(one) for one in block.get("crossed", ()) if set(one) <= set(values)]
    axes: dict[str, list[tuple[str, str]]] = {}
    for chosen in sets:
        points = []
        for combination in product(*(values[name].items() for name in chosen)):
            label = "; ".join(one for one, _ in combination)
            changes = common | {key: value for _, more in combination for key, value in more.items()}
            said = ", ".join(f"{_words(name)} {one}" for name, (one, _) in zip(chosen, combination, strict=True))
            points.append((label, add(changes, said)))
        axes[" x ".join(map(_words, chosen))] = points
    return Plan(variants, axes)


def equal_hidden(spec: RunSpec) -> tuple[int, ...]:
    """The hidden layers of a VAE with as many parameters: each wider by the same number of units, the nearest count."""
    vae = replace(spec.network, slots=(0,) * len(spec.network.hidden))

    def wider(units: int) -> Network:
        return replace(vae, hidden=tuple(width + units for width in vae.hidden))

    wanted = parameters(spec.network)
    more = bisect_left(range(MOST), wanted, key=lambda units: parameters(wider(units)))
    best = min((more, max(more - 1, 0)), key=lambda units: abs(parameters(wider(units)) - wanted))
    return wider(best).hidden


def key_of(spec: RunSpec) -> tuple[Any, ...]:
    """What makes two models the same: all but name, seed and data."""
    return spec.network, spec.training


def _labelled(name: str, axis: Any) -> dict[str, Changes]:
    """Each label of an axis with its changes."""
    if isinstance(axis, dict):
        return {label: changes for label, changes in axis.items() if changes is not None}
    return {_text(value): {name: value} for value in axis}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _words(name: str) -> str:
    return "K" if name == "k" else name.removeprefix("training.").replace("_", " ")


def _name(base: str, changes: Changes) -> str:
    """`mem_vae_slots_10_5`; K is no part of it, for a run's name has it anyway."""
    parts = [f"{key.removeprefix('training.')} {_text(value)}" for key, value in sorted(changes.items()) if key != "k"]
    return re.sub("[^a-z0-9]+", "_", " ".join([base, *parts]).lower())
