"""Where a file comes from: everything it was made of, down to the raw files, read from the files themselves.

Two sources, both written by the stages: the attributes of an HDF5 file, which name data, model and classifier by the
sha256 of their arrays; and `<file>.run.json`, which names every file that a job read and wrote by the sha256 of its
bytes, and itself by `record_sha256`. Nothing of Snakemake's is read. Paths are those of the project's folder. No
torch, no pandas.
"""

import json
from collections.abc import Callable, Mapping
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
    def dataset(self) -> str:
        """The name of the data set it belongs to."""
        attributes = self.attributes
        return str(attributes.get("dataset") or attributes.get("spec", {}).get("dataset") or Path(self.path).stem)


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

    Raises InputError when the file is missing or nothing is recorded of it.
    """
    start = _relative(path)
    if Path(start).is_absolute():
        raise InputError(
            f"{path}: found a file outside this folder, {Path.cwd()}; run this in the folder of its project"
        )
    if not Path(start).is_file():
        raise InputError(
            f"{path}: not found; expected a table, a figure, a scorecard or an HDF5 file; make it with {making(start)}"
        )
    if (record := Path(f"{start}.run.json")).is_file() and not isinstance(_json(record), dict):
        raise InputError(f"{record}: found no record of a job, expected JSON; restore it or make {path} again")
    nodes: dict[str, Node] = {}

    def add(name: str, made: str) -> None:
        """The file and all that is below it. made: the kind of what was made of it."""
        if name in nodes:
            return
        node = nodes[name] = _node(name, foreign=made == "dataset")
        for path in node.inputs:
            add(path, node.kind)
        kinds = {nodes[path].kind for path in node.inputs}
        for kind, path in _named_inputs(node).items():
            if kind not in kinds:
                node.inputs.setdefault(path, "")
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

    Of a file itself: its bytes with those that its job recorded, of an HDF5 file also the checksums within; whether
    the record is whole. Of the file asked for: what its job wrote beside it, too. Of an input: its bytes with those
    that were read; of data, model and classifier the arrays too; of a model what the analysis says of it. Of a raw
    file: the data set's record with the file and with the configuration. datasets: gives the configuration's entries
    of data sets. At least one link comes out.
    """
    sums = cache(store.file_checksum)
    links = [link for node in lineage.nodes.values() for link in _itself(node, sums)]
    links += _beside(lineage.nodes[lineage.path], sums)
    for node in lineage.nodes.values():
        for path, recorded in node.inputs.items():
            child = lineage.nodes[path]
            if not child.exists:
                links.append(Link(node.path, path, MISSING))
            elif _is_raw(node, path):
                links.append(_raw(node, path, datasets()))
            else:
                links.append(_input(node, child, recorded, sums))
    return links


def problems(links: list[Link]) -> list[str]:
    """A line for each link that does not hold."""
    lines = []
    for link in (link for link in links if link.state != HOLDS):
        of = "" if link.parent == link.path else f", of {link.parent}"
        lines.append(f"{link.path}{of}: {link.reason or link.state}")
    return lines


def as_tree(lineage: Lineage, links: list[Link]) -> str:
    """The lineage as an indented tree, a file below what was made of it; of a file the facts stand once.

    links: of `verify`; their states are shown. Empty: nothing was verified.
    """
    states = {(link.parent, link.path): link.state for link in links}
    lines: list[str] = []
    told: set[str] = set()

    def tell(path: str, parent: str, depth: int) -> None:
        node, indent = lineage.nodes[path], "    " * depth
        marks = (states.get((parent, path)), states.get((path, path)))
        mark = next((mark for mark in (BROKEN, MISSING, HOLDS) if mark in marks), "" if node.exists else "not here")
        notes = ", ".join(note for note in (mark, "as above" if path in told else "") if note)
        lines.append(f"{indent}{path}" + (f"  [{notes}]" if notes else ""))
        if path in told:
            return
        told.add(path)
        lines.extend(f"{indent}  | {fact}" for fact in _facts(node))
        for child in node.inputs:
            tell(child, path, depth + 1)

    tell(lineage.path, lineage.path, 0)
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
    """One file and what it was made of. foreign: it was given by the user, so an HDF5 file has no record of ours."""
    if not Path(path).is_file():
        return Node(path, "file", exists=False)
    record = _record(Path(path))
    inputs = {_relative(name): str(sha256) for name, sha256 in _mapping(record.get("inputs")).items()}
    if Path(path).suffix != ".h5" or foreign:
        return Node(path, "file", True, record=record, inputs=inputs)
    try:
        attributes = store.read(path, arrays_too=False).attributes
    except InputError as error:
        return Node(path, "file", True, record=record, inputs=inputs, damage=str(error).removeprefix(f"{path}: "))
    node = Node(path, str(attributes["format"]).removeprefix("memvae/"), True, attributes, record, inputs)
    node.inputs |= _raw_inputs(node) if node.kind == "dataset" else {}
    return node


def _named_inputs(node: Node) -> dict[str, str]:
    """Kind -> where the workflow has the data, the model and the classifier whose arrays the attributes name."""
    results = Path(*Path(node.path).parts[:-3])  # of an analysis, <results>/evaluation/<run>/<analysis>.h5
    run = _mapping(node.attributes.get("spec")).get("run")
    places = {
        "model": f"{results}/models/{run}.h5",
        "classifier": f"{results}/classifiers/{node.dataset}.h5",
        "dataset": targets.data_file(node.dataset),
    }
    return {kind: path for kind, path in places.items() if CONTENT[kind] in node.attributes}


def _raw_inputs(node: Node) -> dict[str, str]:
    """The raw files of a data set; what came from a package, or from the user's own file or function, is none."""
    loader = str(node.attributes.get("loader"))
    names = [] if loader in ("digits", "hdf5") else _mapping(node.attributes.get("sources"))
    return {targets.raw_file(node.dataset, name): "" for name in names if name != loader}


def _is_raw(node: Node, path: str) -> bool:
    return node.kind == "dataset" and path in _raw_inputs(node)


def _record(path: Path) -> dict[str, Any]:
    """`<file>.run.json`, or the record beside it or one folder above whose job wrote this file too."""
    own = _mapping(_json(Path(f"{path}.run.json")))
    if own or path.suffix == ".h5":
        return own
    for candidate in (
        name for folder in (path.parent, path.parent.parent) for name in sorted(folder.glob("*.run.json"))
    ):
        record = _mapping(_json(candidate))
        if path.as_posix() in map(_relative, _mapping(record.get("outputs"))):
            return record
    return {}


def _itself(node: Node, sums: Callable[[str], str]) -> list[Link]:
    """Whether a file is what its job wrote, and the record of that whole; nothing of a file that no job wrote."""
    if node.damage:
        return [Link(node.path, node.path, BROKEN, node.damage)]
    recorded = _outputs(node).get(node.path)
    if recorded and (link := _written(node.path, recorded, sums)).state != HOLDS:
        return [link]
    if node.attributes:
        try:
            store.read(node.path)
        except InputError as error:
            return [Link(node.path, node.path, BROKEN, str(error).removeprefix(f"{node.path}: "))]
    if flaw := _flaw(node):
        return [Link(node.path, node.path, BROKEN, f"{flaw}; restore the record or make the file again")]
    return [Link(node.path, node.path, HOLDS)] if recorded or node.attributes else []


def _beside(node: Node, sums: Callable[[str], str]) -> list[Link]:
    """Whether the other files of the job that wrote this one are what it wrote."""
    outputs = _outputs(node)
    others = [path for path in outputs if outputs[path] and path != node.path] if node.path in outputs else []
    return [_written(path, outputs[path], sums) for path in others]


def _written(path: str, recorded: str, sums: Callable[[str], str]) -> Link:
    """Whether a file has the bytes that its job wrote."""
    if not Path(path).is_file():
        return Link(path, path, MISSING)
    if (found := sums(path)) != recorded:
        reason = f"found sha256 {found[:SHOWN]}, expected {recorded[:SHOWN]}, as its job wrote it; make it again"
        return Link(path, path, BROKEN, reason)
    return Link(path, path, HOLDS)


def _outputs(node: Node) -> dict[str, str]:
    """Path -> sha256 of what the job wrote that wrote this file, as its record has them."""
    return {_relative(path): str(sha256 or "") for path, sha256 in _mapping(node.record.get("outputs")).items()}


def _flaw(node: Node) -> str:
    """What a record lacks or that it was edited. Of an HDF5 file, whose attributes name its inputs, it may be older."""
    if not node.record:
        return ""
    outputs, drawn = _outputs(node), Path(node.path).suffix != ".h5"
    if drawn and not node.inputs:
        return "found no inputs in the record of its job, expected the files that it was drawn from"
    if unknown := [path for path in ([node.path] if drawn else []) + list(outputs) if not outputs.get(path)]:
        return f"found no checksum of {unknown[0]} in the record of its job, expected that of every file it wrote"
    if "record_sha256" not in node.record:
        return "found no record_sha256 in the record of its job, which is older or was edited" if drawn else ""
    if node.record["record_sha256"] != store.record_checksum(node.record):
        return "found another record_sha256 in the record of its job than that of its entries, which were edited"
    return ""


def _input(node: Node, child: Node, recorded: str, sums: Callable[[str], str]) -> Link:
    """Whether an input has the bytes, and as data, model or classifier the arrays, that were read."""
    name = CONTENT.get(child.kind, "")
    arrays, expected = str(child.attributes.get("sha256")), node.attributes.get(name)
    again = f"restore it or make {node.path} again"
    if expected and arrays != expected:
        reason = f"its arrays have sha256 {arrays[:SHOWN]}, expected {expected[:SHOWN]} ({name}); {again}"
    elif differing := _disagreement(node, child):
        reason = f"{differing}, as {node.path} says; {again}"
    elif recorded and (found := sums(child.path)) != recorded:
        same = "; its arrays are the same" if expected else ""
        reason = f"found sha256 {found[:SHOWN]}, expected {recorded[:SHOWN]}, as it was read{same}; {again}"
    elif not expected and not recorded:
        reason = f"found {child.damage or f'a file of the kind {child.kind}'}, expected what was read; {again}"
    else:
        return Link(node.path, child.path, HOLDS)
    return Link(node.path, child.path, BROKEN, reason)


def _disagreement(node: Node, child: Node) -> str:
    """Where an analysis and its model tell different things of the same training: what each tells."""
    if child.kind != "model":
        return ""
    here, there = ({key: one.attributes.get(key) for key in ("spec", "epoch", "data_sha256")} for one in (node, child))
    said, found = _flat(here), _flat(there)
    keys = sorted(key for key in said.keys() & found.keys() if said[key] != found[key])
    tell = [", ".join(f"{key} {_text(facts[key])}" for key in keys) for facts in (found, said)]
    return f"found {tell[0]}, expected {tell[1]}" if keys else ""


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """A nested mapping as one: `spec.network.latent` -> 50. What is not there is left out."""
    if not isinstance(value, dict):
        return {} if value is None else {name: value}
    parts = [_flat(inner, f"{name}.{key}".lstrip(".")) for key, inner in value.items()]
    return {key: inner for part in parts for key, inner in part.items()}


def _raw(node: Node, path: str, datasets: Mapping[str, Any]) -> Link:
    """Whether a raw file is the one of the configuration, and that the one that the data set was made from."""
    name = Path(path).name
    rule = _mapping(_mapping(datasets.get(node.dataset)).get("files")).get(name)
    recorded = node.attributes["sources"][name]
    if rule is None:
        reason = f"the configuration has no such file of {node.dataset}; make {node.path} again"
    elif download.expected(rule) != recorded:
        reason = (
            f"the configuration names sha256 {download.expected(rule)[:SHOWN]}, expected {recorded[:SHOWN]}, as it was "
        )
        reason += f"read; make {node.path} again"
    elif (found := download.checksum(Path(path), rule)) != recorded:
        reason = f"found sha256 {found[:SHOWN]}, expected {recorded[:SHOWN]}; delete it and fetch it again"
    else:
        return Link(node.path, path, HOLDS)
    return Link(node.path, path, BROKEN, reason)


def _facts(node: Node) -> list[str]:
    """What a file says of itself, and its job of how it was made; a line each."""
    attributes, record, facts = node.attributes, node.record, []
    if node.damage:
        facts.append(node.damage)
    if attributes:
        facts.append(f"{node.kind}, sha256 of its arrays {attributes['sha256']}")
    if node.kind == "dataset":
        facts.append(f"{attributes.get('title')}: {_text(attributes.get('sources'))}")
    if spec := _mapping(attributes.get("spec")):
        epochs, computed = attributes.get("epoch"), attributes.get("computed")
        facts.append(
            f"{spec.get('run')}: {spec.get('model_title')} on {spec.get('dataset_title')}, seed {spec.get('seed')}, "
            f"{epochs} epochs{f', {computed}' if computed else ''}"
        )
        if node.kind == "model":
            facts += [f"{part} {_text(spec.get(part))}" for part in ("network", "training")]
    if "settings" in attributes:
        facts.append(f"settings {_text(attributes['settings'])}")
    made = attributes if "code_version" in attributes else record
    if "code_version" in made:
        packages = ", ".join(" ".join(pair) for pair in _mapping(made.get("packages")).items())
        facts.append(f"memvae {made['code_version']} on {made.get('device')}: {packages}")
    if "finished" in record:
        machine = record.get("processor") or record.get("machine")
        facts.append(f"{record.get('seconds')} s, finished {record['finished']}, on {record.get('host')} ({machine})")
    return facts


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _mapping(value: Any) -> dict[str, Any]:
    """A record may be from another version or edited by hand: what is no mapping counts as empty."""
    return value if isinstance(value, dict) else {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _relative(path: Path | str) -> str:
    """As the stages record paths: relative to the project's folder, where that is above."""
    path = Path(path)
    return (path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path).as_posix()
