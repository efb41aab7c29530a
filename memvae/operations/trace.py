"""Where a file comes from: everything it was made of, down to the raw files, read from the files themselves.

Two sources, both written by the stages: the attributes of an HDF5 file, which name data, model and classifier by the
sha256 of their arrays; and `<file>.run.json`, which names every file that a job read and wrote by the sha256 of its
bytes. Nothing of Snakemake's is read. Paths are those of the project's folder. No torch, no pandas.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from memvae.data import download
from memvae.errors import InputError
from memvae.files import store
from memvae.settings import targets
from memvae.settings.config import making

CONTENT = {"dataset": "data_sha256", "model": "model_sha256", "classifier": "classifier_sha256"}  # kind -> attribute
HOLDS, BROKEN, MISSING = "holds", "broken", "not here: cannot be verified"
SHOWN = 12  # digits of a checksum in the tree


@dataclass
class Node:
    """One file of a lineage. inputs: path -> recorded sha256 of its bytes, empty where only its arrays' is recorded."""

    path: str
    kind: str  # of an HDF5 file as in its `format`, else `file`
    exists: bool
    attributes: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    damage: str = ""  # why the file cannot be read

    @property
    def spec(self) -> dict[str, Any]:
        found = self.attributes.get("spec")
        return found if isinstance(found, dict) else {}

    @property
    def dataset(self) -> str:
        """The name of the data set it belongs to."""
        return str(self.attributes.get("dataset") or self.spec.get("dataset") or Path(self.path).stem)

    @property
    def raw_files(self) -> dict[str, str]:
        """Of a data set, its raw files: path -> recorded sha256. What a package or the user's function gave is none."""
        loader = self.attributes.get("loader")
        if self.kind != "dataset" or loader in ("digits", "hdf5"):
            return {}
        sources = self.attributes.get("sources", {})
        return {targets.raw_file(self.dataset, name): sums for name, sums in sources.items() if name != loader}


@dataclass(frozen=True)
class Link:
    """What became of a recorded checksum of `path`, which `parent` was made of; of a file itself both are the same."""

    parent: str
    path: str
    state: str  # HOLDS | BROKEN | MISSING
    reason: str = ""


@dataclass(frozen=True)
class Lineage:
    """The file asked for and, by path, every file of its lineage."""

    path: str
    nodes: dict[str, Node]


def trace(path: Path | str) -> Lineage:
    """The lineage of any file that a stage wrote. Paths in it are relative to this folder where they lie below it.

    Raises InputError when the file is missing, lies elsewhere, or nothing is recorded of it.
    """
    start = _relative(path)
    if Path(start).is_absolute():
        raise InputError(
            f"{path}: found a file outside this folder, {Path.cwd()}; run this in the folder of its project"
        )
    if not _is_file(start):
        raise InputError(
            f"{start[:200]}: not found; expected a table, a figure, a scorecard or an HDF5 file; make it with "
            f"{making(start[:200])}"
        )
    nodes: dict[str, Node] = {}

    def add(name: str, made: str) -> None:
        """The file and all that is below it. made: the kind of what was made of it."""
        if name not in nodes:
            node = nodes[name] = _node(name, foreign=made == "dataset")
            for path in node.inputs:
                add(path, node.kind)

    add(start, "")
    first = nodes[start]
    if not first.attributes and not first.record and not first.damage:
        raise InputError(
            f"{path}: found no record of what it was made of, expected {start}.run.json or one beside it that names "
            "it; make the file again with its stage (a table or a figure takes seconds)"
        )
    return Lineage(start, nodes)


def verify(lineage: Lineage, datasets: Callable[[], Mapping[str, Any]]) -> list[Link]:
    """Every recorded checksum of a lineage compared with the files as they are now.

    Of a file itself: its bytes with those that its job recorded, and the checksum within an HDF5 file. Of an input: its
    bytes, or the arrays of data, model and classifier. Of a raw file: the data set's record with the file and with the
    configuration. datasets: gives the configuration's entries of data sets.
    """
    sums = cache(store.file_checksum)
    links: list[Link] = []
    for node in lineage.nodes.values():
        links += _itself(node, sums)
        for path, recorded in node.inputs.items():
            links.append(_input(node, lineage.nodes[path], recorded, sums, datasets))
    return links


def problems(links: list[Link]) -> list[str]:
    """A line for each link that does not hold."""
    lines = []
    for link in (link for link in links if link.state != HOLDS):
        of = "" if link.parent == link.path else f", of {link.parent}"
        lines.append(f"{link.path}{of}: {link.reason or link.state}")
    return lines


def as_tree(lineage: Lineage, links: list[Link]) -> str:
    """The lineage as an indented tree, a file below what was made of it; the facts of a file stand once.

    links: of `verify`; their states are shown. Empty: nothing was verified.
    """
    states = {(link.parent, link.path): link.state for link in links}
    lines: list[str] = []
    listed: set[str] = set()

    def add(path: str, parent: str, depth: int) -> None:
        node, indent = lineage.nodes[path], "    " * depth
        marks = (states.get((parent, path)), states.get((path, path)))
        mark = next((mark for mark in (BROKEN, MISSING, HOLDS) if mark in marks), "" if node.exists else "not here")
        notes = ", ".join(note for note in (mark, "as above" if path in listed else "") if note)
        lines.append(f"{indent}{path}" + (f"  [{notes}]" if notes else ""))
        if path not in listed:
            listed.add(path)
            lines.extend(f"{indent}  | {fact}" for fact in _facts(node))
            for child in node.inputs:
                add(child, path, depth + 1)

    add(lineage.path, lineage.path, 0)
    return "\n".join(lines)


def as_json(lineage: Lineage, links: list[Link]) -> str:
    """The same as JSON: `file`; `files`, path -> the fields of `Node`; `links`, the fields of `Link`."""
    content = {
        "file": lineage.path,
        "files": {path: asdict(node) for path, node in lineage.nodes.items()},
        "links": [asdict(link) for link in links],
    }
    return json.dumps(content, indent=1, sort_keys=True)


def _node(path: str, foreign: bool) -> Node:
    """One file and what it was made of. foreign: the user gave it, so an HDF5 file has no record of ours."""
    if not _is_file(path):
        return Node(path, "file", exists=False)
    record = _record(Path(path))
    inputs = {_relative(name): str(sha256) for name, sha256 in record.get("inputs", {}).items()}
    if Path(path).suffix != ".h5" or foreign:
        return Node(path, "file", True, record=record, inputs=inputs)
    try:
        attributes = store.read(path, arrays_too=False).attributes
    except InputError as error:
        return Node(path, "file", True, record=record, inputs=inputs, damage=str(error).removeprefix(f"{path}: "))
    node = Node(path, str(attributes["format"]).removeprefix("memvae/"), True, attributes, record, inputs)
    node.inputs |= dict.fromkeys(node.raw_files, "")
    results = Path(*Path(path).parts[:-3])  # of an analysis, <results>/evaluation/<run>/<analysis>.h5
    places = {
        "model": f"{results}/models/{node.spec.get('run')}.h5",
        "classifier": f"{results}/classifiers/{node.dataset}.h5",
        "dataset": targets.data_file(node.dataset),
    }
    if not record.get("inputs"):
        node.inputs |= {place: "" for kind, place in places.items() if CONTENT[kind] in attributes}
    return node


def _record(path: Path) -> dict[str, Any]:
    """`<file>.run.json`, or the record beside it or one folder above whose job wrote this file too."""
    own = store.read_record(path)
    if own or path.suffix == ".h5":
        return own
    for folder in (path.parent, path.parent.parent):
        for candidate in sorted(folder.glob("*.run.json")):
            record = store.read_record(str(candidate).removesuffix(".run.json"))
            if path.as_posix() in map(_relative, record.get("outputs", {})):
                return record
    return {}


def _itself(node: Node, sums: Callable[[str], str]) -> Iterator[Link]:
    """Whether a file is what its job wrote, and undamaged."""
    recorded = {_relative(path): sha256 for path, sha256 in node.record.get("outputs", {}).items()}.get(node.path)
    reason = node.damage
    if not reason and recorded and (found := sums(node.path)) != recorded:
        reason = f"found sha256 {found[:SHOWN]}, expected {recorded[:SHOWN]}, as its job wrote it; make it again"
    elif not reason and node.attributes:
        try:
            store.read(node.path)
        except InputError as error:
            reason = str(error).removeprefix(f"{node.path}: ")
    if reason or recorded or node.attributes:
        yield Link(node.path, node.path, BROKEN if reason else HOLDS, reason)


def _input(
    node: Node,
    child: Node,
    recorded: str,
    sums: Callable[[str], str],
    datasets: Callable[[], Mapping[str, Any]],
) -> Link:
    """Whether an input has the bytes, or as data, model or classifier the arrays, that were read."""
    if not child.exists:
        return Link(node.path, child.path, MISSING)
    name = CONTENT.get(child.kind, "")
    expected = node.attributes.get(name) or recorded
    found = str(child.attributes.get("sha256")) if node.attributes.get(name) else ""
    if child.path in node.raw_files:
        expected = node.raw_files[child.path]
        rule = datasets().get(node.dataset, {}).get("files", {}).get(Path(child.path).name)
        if rule is None or download.expected(rule) != expected:
            named = download.expected(rule)[:SHOWN] if rule else "no such file"
            reason = (
                f"the configuration names {named}, expected {expected[:SHOWN]}, as it was read; make {node.path} again"
            )
            return Link(node.path, child.path, BROKEN, reason)
        found = download.checksum(Path(child.path), rule)
    found = found or sums(child.path)
    if found == expected:
        return Link(node.path, child.path, HOLDS)
    reason = f"found sha256 {found[:SHOWN]}, expected {expected[:SHOWN]}, as it was read; restore it or make "
    return Link(node.path, child.path, BROKEN, f"{reason}{node.path} again")


def _facts(node: Node) -> Iterator[str]:
    """What a file says of itself, and its job of how it was made; a line each."""
    attributes, record, spec = node.attributes, node.record, node.spec
    if node.damage:
        yield node.damage
    if attributes:
        yield f"{node.kind}, sha256 of its arrays {attributes['sha256']}"
    if node.kind == "dataset":
        yield f"{attributes.get('title')}: {_text(attributes.get('sources'))}"
    if spec:
        computed = f", {attributes['computed']}" if "computed" in attributes else ""
        yield f"{spec.get('run')}: seed {spec.get('seed')}, {attributes.get('epoch')} epochs{computed}"
    if node.kind == "model":
        yield from (f"{part} {_text(spec.get(part))}" for part in ("network", "training"))
    if "settings" in attributes:
        yield f"settings {_text(attributes['settings'])}"
    made = attributes if "code_version" in attributes else record
    if "code_version" in made:
        packages = ", ".join(" ".join(pair) for pair in made.get("packages", {}).items())
        yield f"memvae {made['code_version']} on {made.get('device')}: {packages}"
    if "finished" in record:
        machine = record.get("processor") or record.get("machine")
        yield f"{record.get('seconds')} s, finished {record['finished']}, on {record.get('host')} ({machine})"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a name that no file can have
        return False


def _relative(path: Path | str) -> str:
    """As the stages record paths: relative to the project's folder, where that is above."""
    path = Path(path)
    return (path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path).as_posix()
