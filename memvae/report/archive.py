"""One file with all that the tables, figures and the scorecard are drawn from: written, checked, and drawn again.

An archive is a zip file of stored (not compressed) members: the analyses as they are, of model files the learning
curves, the paper's numbers, and a manifest that names every target, its inputs and the sha256 of every member
(docs/files.md). The same files give the same bytes. An archive may come from a stranger: names, sizes and checksums are
checked before anything is drawn, and code is only loaded from memvae and from the user's own configuration.
"""

import hashlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.report import render
from memvae.report.paper import read_paper
from memvae.settings import targets

FORMAT, VERSION = "memvae/archive", 2
MANIFEST = "manifest.json"
MAXIMUM = 200_000_000  # bytes of an archive: both ablations at scale=quick are about 75 MB
ARRAYS = 500_000_000  # bytes of arrays in an archive; those of scale=quick are 12 MB
MEMBER = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)  # a relative path, without `..`, a drive or a hidden file
KINDS = ("table", "figure", "scorecard", targets.MEASUREMENTS)
TARGET = re.compile(r"\w+", re.ASCII)
OLDEST = (1980, 1, 1, 0, 0, 0)  # the first time stamp of a zip file

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
    more than 200 MB.
    """
    read_paper(paper)
    members, name_of = {targets.PAPER_VALUES: paper.read_bytes()}, {}
    for path in targets.inputs_of(*drawn):
        if not MEMBER.fullmatch(path):
            raise InputError(f"{path}: expected a path below the project's folder; run this there")
        name_of[path], content = _member(Path(path))
        members[name_of[path]] = content
    renamed = [targets.with_inputs(target, name_of.__getitem__) for target in drawn]
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


def redraw(archive: Path, output: Path, modules: Collection[str] = ()) -> tuple[Manifest, list[Path]]:
    """Draws every target of an archive into the folder `output`: `tables/`, `figures/`, scorecard and measurements.

    modules: where the user's own analyses are declared; others are not loaded. The bytes are those of the workflow,
    where code and packages have the same versions. Returns what the archive says of itself, and the files that were
    written. Raises InputError when the archive is missing, damaged, of another program or version, before anything is
    drawn; and when what it holds cannot be drawn.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            manifest = unpack(archive, folder)
            written = [path for target in manifest.targets for path in _draw(target, folder, output, modules)]
        except InputError as error:
            text = str(error).replace(f"{folder}/", "")
            raise InputError(f"{archive}: {text}; get or make the archive again") from error
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"{archive}: found something that cannot be drawn ({type(error).__name__}: {reason}); get or make the "
                "archive again"
            ) from error
    return manifest, written


def unpack(archive: Path, folder: Path) -> Manifest:
    """Writes the checked members of `archive` into the empty `folder`. Raises InputError when anything is amiss."""
    members = _read_zip(archive)
    manifest = _manifest(members)
    if unknown := sorted(set(members) - {MANIFEST, *manifest.members}):
        raise InputError(f"found the member {unknown[0]}, which its manifest does not name")
    for name, sha256 in manifest.members.items():
        if name not in members or _sha256(members[name]) != sha256:
            raise InputError(f"{name}: missing or damaged (not the sha256 of the manifest)")
        store.write_bytes(folder / name, members[name])
    left = ARRAYS
    for name in targets.inputs_of(*manifest.targets):
        if name not in manifest.members:
            raise InputError(f"{MANIFEST}: found the input {name!r}, which is no member")
        left -= sum(array.nbytes for array in store.read(folder / name, limit=left).arrays.values())
    return manifest


def _member(path: Path) -> tuple[str, bytes]:
    """Name and bytes of the member for one input. Of a file with weights the rest is kept, under a name of its own."""
    stored = store.read(path)
    if not stored.group("weights"):
        return path.as_posix(), path.read_bytes()
    attributes = dict(stored.attributes)
    kind = attributes.pop("format").removeprefix("memvae/")
    del attributes["format_version"]
    attributes |= {"model_sha256": attributes.pop("sha256"), "weights_left_out": True}
    with tempfile.TemporaryDirectory() as folder:
        smaller = Path(folder) / path.name
        store.write(smaller, kind, stored.without("weights").arrays, attributes)
        return path.with_suffix(".curves.h5").as_posix(), smaller.read_bytes()


def _zip(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in sorted(members.items()):
            entry = zipfile.ZipInfo(name, OLDEST)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, a plain file
            file.writestr(entry, content)
    return buffer.getvalue()


def _read_zip(archive: Path) -> Members:
    """The members' bytes, all of them; nothing is written. Names and sizes are checked first."""
    if not archive.is_file():
        raise InputError("not found; expected an archive, as `snakemake --cores 1 results/archive.zip` makes it")
    if archive.stat().st_size > MAXIMUM:
        raise InputError(f"found {archive.stat().st_size / 1e6:.1f} MB, expected at most {MAXIMUM / 1e6:.0f}")
    try:
        with zipfile.ZipFile(archive) as file:
            entries = file.infolist()
            names = [entry.filename for entry in entries]
            for entry in entries:
                plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1
                if not MEMBER.fullmatch(entry.filename) or not plain or names.count(entry.filename) > 1:
                    raise InputError(f"found the member {entry.filename!r}, expected plain files, each once")
            if sum(entry.file_size for entry in entries) > MAXIMUM:
                raise InputError(f"found more than {MAXIMUM / 1e6:.0f} MB when unpacked")
            return {entry.filename: file.read(entry) for entry in entries}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"damaged or no zip file ({' '.join(str(error).split())[:120]})") from error


def _manifest(members: Members) -> Manifest:
    try:
        raw = json.loads(members[MANIFEST])
        form, version = raw.pop("format"), raw.pop("version")
    except (KeyError, ValueError, RecursionError, AttributeError, TypeError):
        raise InputError(f"has no readable {MANIFEST}: no archive of memvae") from None
    if form != FORMAT or version != VERSION:
        raise InputError(f"{MANIFEST}: found {form} {version}, expected {FORMAT} {VERSION}; use its version of memvae")
    try:
        manifest = Manifest(**raw)
        for target in manifest.targets:
            if not TARGET.fullmatch(target["name"]) or target["kind"] not in KINDS:
                raise ValueError(target["name"])
            targets.inputs_of(target)
        if targets.PAPER_VALUES not in manifest.members or not all(map(MEMBER.fullmatch, manifest.members)):
            raise ValueError(targets.PAPER_VALUES)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{MANIFEST}: found something else than targets and members ({error})") from None
    return manifest


def _draw(target: Mapping[str, Any], folder: Path, output: Path, modules: Collection[str]) -> list[Path]:
    for part in target["parts"]:
        if part["module"] and part["module"] not in modules:
            raise InputError(
                f"{target['name']}: found an analysis of {part['module']!r}, which the configuration does not name; "
                "add the --configfile that names it"
            )
    name = {"table": "tables/{}.csv", "figure": "figures/{}.png"}.get(target["kind"], "{}.csv").format(target["name"])
    moved = targets.with_inputs(target, lambda member: str(folder / member))
    return render.write(moved, None if target["kind"] == "figure" else folder / targets.PAPER_VALUES, output / name)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
