"""What a file was made from, down to the raw files, according to the records that the stages wrote.

A record, `<file>.run.json`, names every file that a job read and wrote, with the sha256 of its bytes. Snakemake's own
metadata are not read. Paths start at the project's folder. No torch, no pandas.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.settings.config import making

HOLDS, BROKEN, MISSING = "holds", "broken", "not here: cannot be verified"
SHOWN = 12  # digits of a checksum in a message
# what the tree shows of a file's attributes, and of its job's record
FACTS = ("format", "sha256", "sources", "spec", "epoch", "computed", "settings", "code_version", "packages", "device")
OF_JOB = ("seconds", "finished", "host", "processor")


@dataclass(frozen=True)
class Node:
    """One file of a lineage: the attributes of an HDF5 file of ours, and the record of the job that wrote it."""

    path: str
    attributes: dict[str, Any]
    record: dict[str, Any]

    @property
    def inputs(self) -> dict[str, str]:
        """What it was made of: path -> sha256 as it was read."""
        return _sums(self.record, "inputs")


Lineage = Mapping[str, Node]  # by path, the file asked for first


@dataclass(frozen=True)
class Link:
    """What became of a recorded checksum of `path`, which `parent` was made of; of a file itself both are the same."""

    parent: str
    path: str
    state: str  # HOLDS | BROKEN | MISSING


def trace(path: Path | str) -> Lineage:
    """The lineage of any file that a stage wrote.

    Raises InputError when the file is missing, or nothing is recorded of it.
    """
    start = _relative(path)
    if not os.path.isfile(start):
        start = start[:200]
        raise InputError(f"{start}: not found; expected a file of the workflow; make it with {making(start)}")
    nodes: dict[str, Node] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop(0)
        if name not in nodes:
            nodes[name] = _node(Path(name))
            waiting += nodes[name].inputs
    if not nodes[start].record:
        raise InputError(
            f"{path}: found no record of what it was made of, expected {start}.run.json or one beside it that names "
            "it; run this in the project's folder, or make the file again with its stage"
        )
    return nodes


def verify(lineage: Lineage) -> list[Link]:
    """Every recorded checksum of a lineage, compared with the current files."""
    found = cache(store.file_checksum)
    links = []
    for node in lineage.values():
        own = _sums(node.record, "outputs").get(node.path)
        for path, recorded in {**({node.path: own} if own else {}), **node.inputs}.items():
            state = MISSING
            if os.path.isfile(path):
                state = HOLDS if found(path) == recorded else BROKEN
            links.append(Link(node.path, path, state))
    return links


def problems(links: list[Link]) -> list[str]:
    """A line for each link that does not hold."""
    lines = []
    for link in (link for link in links if link.state != HOLDS):
        state = "not what was recorded; restore it or make it again" if link.state == BROKEN else link.state
        lines.append(f"{link.path}: {state}" if link.parent == link.path else f"{link.path}, of {link.parent}: {state}")
    return lines


def as_tree(lineage: Lineage, links: list[Link]) -> str:
    """The lineage as an indented tree, a file below what was made of it; the facts of a file stand once.

    links: of `verify`; their states are shown. Empty: nothing was verified.
    """
    states = {(link.parent, link.path): link.state for link in links}
    lines: list[str] = []
    listed: set[str] = set()

    def add(path: str, parent: str, depth: int) -> None:
        indent = "    " * depth
        marks = {states.get((parent, path)), states.get((path, path))}
        notes = [mark for mark in (BROKEN, MISSING, HOLDS) if mark in marks][:1]
        notes += ["as above"] if path in listed else []
        lines.append(f"{indent}{path}" + (f"  [{', '.join(notes)}]" if notes else ""))
        if path not in listed:
            listed.add(path)
            lines.extend(f"{indent}  | {fact}" for fact in _facts(lineage[path]))
            for child in lineage[path].inputs:
                add(child, path, depth + 1)

    start = next(iter(lineage))
    add(start, start, 0)
    return "\n".join(lines)


def as_json(lineage: Lineage, links: list[Link]) -> str:
    """The same as JSON: `file`; `files`, path -> the fields of `Node`; `links`, the fields of `Link`."""
    content = {
        "file": next(iter(lineage)),
        "files": {path: asdict(node) for path, node in lineage.items()},
        "links": [asdict(link) for link in links],
    }
    return json.dumps(content, indent=1, sort_keys=True)


def _node(path: Path) -> Node:
    try:
        attributes = store.read(path).attributes if path.suffix == ".h5" else {}
    except InputError:  # not here, not ours, or damaged: then its bytes are not those of its record
        attributes = {}
    return Node(path.as_posix(), attributes, _record(path))


def _record(path: Path) -> dict[str, Any]:
    """`<file>.run.json`, or the record beside it or one folder above whose job wrote this file too."""
    own = store.read_record(path)
    if own or path.suffix == ".h5":
        return own
    for folder in (path.parent, path.parent.parent):
        for candidate in sorted(folder.glob("*.run.json")):
            record = store.read_record(str(candidate).removesuffix(".run.json"))
            if path.as_posix() in _sums(record, "outputs"):
                return record
    return {}


def _facts(node: Node) -> Iterator[str]:
    """What a file says of itself, a line each, and its job of how it was made."""
    known = node.attributes or node.record
    for name in FACTS:
        if name in known:
            yield f"{name} {json.dumps(known[name], sort_keys=True)}"
    if "finished" in node.record:
        yield ", ".join(f"{name} {node.record.get(name)}" for name in OF_JOB)


def _sums(record: Mapping[str, Any], side: str) -> dict[str, str]:
    """The `inputs` or `outputs` of a record: path -> sha256."""
    return {_relative(path): str(sha256) for path, sha256 in record.get(side, {}).items()}


def _relative(path: Path | str) -> str:
    """As the stages record paths: relative to the project's folder, where that is above."""
    path = Path(path)
    return (path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path).as_posix()
