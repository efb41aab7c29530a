"""One file with all that the tables, figures and the scorecard are drawn from: written, checked, and drawn again.

An archive is a zip file of stored (not compressed) members: the analyses as they are, of model files the learning
curves, the paper's numbers, and a manifest that names every target, its inputs and the sha256 of every member
(docs/formats.md). The same files give the same bytes. An archive may come from a stranger: nothing in it is trusted.
"""

import hashlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.report import figures, scorecard, tables
from memvae.report.layout import Layout, check_keys
from memvae.report.paper import read_paper
from memvae.settings import targets

FORMAT, VERSION = "memvae/archive", 1
MANIFEST = "manifest.json"
MAXIMUM = 20_000_000  # bytes of an archive
ARRAYS = 500_000_000  # bytes of arrays in an archive; those of scale=quick are 12 MB
MEMBER = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)  # a relative path, without `..`, a drive or a hidden file
OLDEST = (1980, 1, 1, 0, 0, 0)  # the first time stamp of a zip file
NAMES = {"table": targets.TABLES, "figure": targets.FIGURES, "scorecard": targets.SCORECARDS}

Members = Mapping[str, bytes]


@dataclass(frozen=True)
class Manifest:
    scale: str
    code_version: str  # of the code that wrote the archive
    targets: list[dict[str, Any]]  # as `targets.drawn` gives them, their inputs by the names of members
    members: dict[str, str]  # name -> sha256


def write(scale: str, drawn: list[dict[str, Any]], paper: Path, output: Path) -> None:
    """Writes the archive of `drawn` (of `targets.drawn`) and of `paper` (config/paper.yaml) to `output`.

    Raises InputError when an input is missing or damaged, lies outside the project's folder, or the archive would have
    more than 20 MB.
    """
    read_paper(paper)
    members = {targets.PAPER_VALUES: paper.read_bytes()}
    name_of = {}
    for path in dict.fromkeys(path for target in drawn for path in target["inputs"]):
        if not MEMBER.fullmatch(path):
            raise InputError(f"{path}: expected a path below the project's folder; run this there")
        name_of[path], content = _member(Path(path))
        members[name_of[path]] = content
    renamed = [target | {"inputs": [name_of[path] for path in target["inputs"]]} for target in drawn]
    sums = {name: _sha256(content) for name, content in sorted(members.items())}
    manifest = Manifest(scale, store.provenance()["code_version"], renamed, sums)
    facts = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    members[MANIFEST] = (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode()
    content = _zip(members)
    if len(content) > MAXIMUM:
        biggest = max(members, key=lambda name: len(members[name]))
        raise InputError(
            f"{output}: would have {len(content) / 1e6:.1f} MB, expected at most {MAXIMUM / 1e6:.0f}; the biggest "
            f"member is {biggest} with {len(members[biggest]) / 1e6:.1f} MB; archive fewer seeds"
        )
    store.write_bytes(output, content)


def redraw(archive: Path, output: Path) -> Manifest:
    """Draws every target of an archive into the folder `output`: `tables/`, `figures/` and the scorecard.

    The bytes are those of the workflow, where code and packages have the same versions. Beside `output` only a
    temporary folder is written to. Raises InputError when the archive is missing, damaged, of another program or of a
    newer version, before anything is drawn; and when what it holds cannot be drawn.
    """
    with tempfile.TemporaryDirectory() as temporary, _named(archive, Path(temporary)) as folder:
        manifest = unpack(archive, folder)
        for target in manifest.targets:
            _draw(target, folder, output)
    return manifest


def unpack(archive: Path, folder: Path) -> Manifest:
    """Writes the checked members of `archive` into the empty `folder`. Raises InputError when anything is amiss."""
    members = _read_zip(archive)
    manifest = _manifest(members)
    if unknown := sorted(set(members) - {MANIFEST, *manifest.members}):
        raise InputError(f"found the member {unknown[0]}, which its manifest does not name")
    for name, sha256 in manifest.members.items():
        if name not in members:
            raise InputError(f"has no member {name!r}, which its manifest names")
        if _sha256(members[name]) != sha256:
            raise InputError(f"{name}: damaged (not the sha256 of the manifest)")
        with _judged(f"{name}: cannot be unpacked"):
            store.write_bytes(folder / name, members[name])
    left = ARRAYS
    for name in dict.fromkeys(name for target in manifest.targets for name in target["inputs"]):
        with _judged(f"{name}: cannot be read"):
            arrays = store.read(folder / name, limit=left).arrays
        left -= sum(array.nbytes for array in arrays.values())
    return manifest


def _member(path: Path) -> tuple[str, bytes]:
    """Name and bytes of the member for one input. Of a file with weights the rest is kept, under a name of its own."""
    stored = store.read(path)
    if stored.group("weights"):
        return path.with_suffix(".curves.h5").as_posix(), _without_weights(stored)
    return path.as_posix(), path.read_bytes()


def _without_weights(stored: store.Stored) -> bytes:
    """The file of a model with its attributes and without its weights; `model_sha256` names the model."""
    attributes = dict(stored.attributes)
    kind = attributes.pop("format").removeprefix("memvae/")
    del attributes["format_version"]
    attributes |= {"model_sha256": attributes.pop("sha256"), "weights_left_out": True}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / stored.path.name
        store.write(path, kind, stored.without("weights").arrays, attributes)
        return path.read_bytes()


def _zip(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in sorted(members.items()):
            entry = zipfile.ZipInfo(name, OLDEST)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, a plain file
            file.writestr(entry, content)
    return buffer.getvalue()


def _read_zip(archive: Path) -> Members:
    """The members' bytes, all of them; nothing is written."""
    if not archive.is_file():
        raise InputError("not found; expected an archive, as `snakemake --cores 1 results/archive.zip` makes it")
    if (size := archive.stat().st_size) > MAXIMUM:
        raise InputError(f"found {size / 1e6:.1f} MB, expected at most {MAXIMUM / 1e6:.0f}")
    with _judged("damaged or no zip file"), zipfile.ZipFile(archive) as file:
        entries = file.infolist()
        _check_entries(entries)
        return {entry.filename: file.read(entry) for entry in entries}


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    seen = set()
    for entry in entries:
        name = entry.orig_filename
        if not MEMBER.fullmatch(name):
            raise InputError(f"found a member {name[:80]!r}, expected a plain path below the archive's folder")
        if name in seen:
            raise InputError(f"found the member {name} twice")
        if entry.external_attr >> 16 & 0o170000 not in (0, 0o100000):
            raise InputError(f"{name}: found a link or no plain file, expected a plain file")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise InputError(f"{name}: found it compressed or encrypted, expected it stored")
        seen.add(name)
    if (unpacked := sum(entry.file_size for entry in entries)) > MAXIMUM:
        raise InputError(f"found {unpacked / 1e6:.1f} MB when unpacked, expected at most {MAXIMUM / 1e6:.0f}")


def _manifest(members: Members) -> Manifest:
    if MANIFEST not in members:
        raise InputError(f"has no {MANIFEST}: no archive of memvae")
    try:
        raw = json.loads(members[MANIFEST])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{MANIFEST}: found no JSON ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
        raise InputError(f"{MANIFEST}: expected the format {FORMAT}")
    version = raw.pop("version", None)
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise InputError(f"{MANIFEST}: found version {version!r}, expected at most {VERSION}; update memvae")
    check_keys(raw, {"scale": str, "code_version": str, "targets": list, "members": dict}, MANIFEST)
    if targets.PAPER_VALUES not in raw["members"]:
        raise InputError(f"{MANIFEST}.members: the key {targets.PAPER_VALUES!r} is missing")
    for place, target in enumerate(raw["targets"]):
        _check_target(target, raw["members"], f"{MANIFEST}.targets[{place}]")
    return Manifest(**raw)


def _check_target(target: Any, members: Mapping[str, str], where: str) -> None:
    check_keys(target, {"kind": str, "name": str, "layout": dict, "inputs": list}, where)
    for key, known in (("kind", tuple(NAMES)), ("name", NAMES.get(target["kind"], ()))):
        if target[key] not in known:
            raise InputError(f"{where}.{key}: found {target[key]!r}, expected one of {', '.join(known)}; update memvae")
    for name in target["inputs"]:
        if name not in list(members):  # a list takes any type of `name`
            raise InputError(f"{where}.inputs: found {name!r}, which is no member")
    Layout.from_dict(target["layout"], f"{where}.layout")


def _draw(target: Mapping[str, Any], folder: Path, output: Path) -> None:
    name, layout = target["name"], target["layout"]
    inputs, paper = [folder / member for member in target["inputs"]], folder / targets.PAPER_VALUES
    with _judged(f"{target['kind']} {name} cannot be drawn"):
        if target["kind"] == "table":
            tables.write(name, layout, inputs, paper, output / f"tables/{name}.csv")
        elif target["kind"] == "figure":
            figures.write(name, layout, inputs, output / f"figures/{name}.png")
        else:
            scorecard.write(layout, inputs, paper, output / f"{name}.csv")


@contextmanager
def _named(archive: Path, folder: Path) -> Iterator[Path]:
    """`folder`; within it errors name the archive, and its members as they stand there."""
    try:
        yield folder
    except InputError as error:
        text = str(error).replace(f"{folder}/", "")
        advice = "" if "update memvae" in text else "; get or make the archive again"
        raise InputError(f"{archive}: {text}{advice}") from error


@contextmanager
def _judged(verdict: str) -> Iterator[None]:
    """Within it every error is the archive's: a stranger's bytes can be wrong in any way."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{verdict} ({type(error).__name__}: {reason})") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
