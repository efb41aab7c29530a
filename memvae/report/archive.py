"""One file with everything needed to draw the tables, figures and the scorecard: written, checked, and redrawn.

An archive is a zip file of stored (not compressed) members: the analyses as they are, the learning curves of the model
files, the paper's numbers, and a manifest that names every target, its inputs and the sha256 of every member
(docs/files.md). The same files give the same bytes. Names, sizes and checksums of an archive are checked before
anything is drawn, and code is loaded only from memvae and from the user's own configuration.
"""

import hashlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.report import render
from memvae.report.paper import read_paper
from memvae.settings import targets

FORMAT, VERSION = "memvae/archive", 2
MANIFEST = "manifest.json"
MAXIMUM = 200_000_000  # bytes of an archive, and of its members: both ablations at scale=quick are about 75 MB
MEMBER = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)  # a relative path, without `..`, a drive or a hidden file
OLDEST = (1980, 1, 1, 0, 0, 0)  # the first time stamp of a zip file
PLACES = {"table": "tables/{}.csv", "figure": "figures/{}.png"}  # of what is drawn; the rest stands beside these


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
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "scale": scale,
        "code_version": store.provenance()["code_version"],
        "targets": [targets.with_inputs(target, name_of.__getitem__) for target in drawn],
        "members": _sums(members),
    }
    members[MANIFEST] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in sorted(members.items()):
            entry = zipfile.ZipInfo(name, OLDEST)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, a plain file
            file.writestr(entry, content)
    if len(buffer.getvalue()) > MAXIMUM:
        raise InputError(
            f"{output}: would have {len(buffer.getvalue()) / 1e6:.1f} MB, expected at most {MAXIMUM / 1e6:.0f}; "
            "archive fewer seeds"
        )
    store.write_bytes(output, buffer.getvalue())


def redraw(archive: Path, output: Path, modules: Collection[str] = ()) -> tuple[dict[str, Any], list[Path]]:
    """Draws every target of an archive into the folder `output`: `tables/`, `figures/`, scorecard and measurements.

    modules: where the user's own analyses are declared; others are not loaded. Returns the manifest and the files that
    were written. The bytes are those of the workflow, where code and packages have the same versions. Raises InputError
    when the archive is missing, damaged, of another program or version, or when what it holds cannot be drawn.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            manifest = _unpack(archive, folder)
            wanted = manifest["targets"]
            written = [path for one in wanted for path in _draw(one, manifest["members"], folder, output, modules)]
        except (InputError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).replace(f"{folder}/", "").split())[:300]
            raise InputError(f"{archive}: cannot be drawn ({reason}); get or make the archive again") from error
    return manifest, written


def _unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """The manifest; writes the other members into `folder` when names, sizes and checksums are as they should be."""
    if archive.exists() and archive.stat().st_size > MAXIMUM:
        raise InputError(f"found {archive.stat().st_size / 1e6:.1f} MB, expected at most {MAXIMUM / 1e6:.0f}")
    try:
        with zipfile.ZipFile(archive) as file:
            entries = {entry.filename: entry for entry in file.infolist()}
            if len(entries) < len(file.infolist()) or not all(map(MEMBER.fullmatch, entries)):
                raise InputError("found a path that leaves its folder or stands twice")
            if sum(entry.file_size for entry in entries.values()) > MAXIMUM:
                raise InputError(f"found more than {MAXIMUM / 1e6:.0f} MB when unpacked")
            members = {name: file.read(name) for name in entries}
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"damaged or no zip file: {error}") from error
    manifest: dict[str, Any] = json.loads(members.pop(MANIFEST))
    if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
        raise InputError(f"found {manifest['format']} {manifest['version']}, expected {FORMAT} {VERSION}")
    sums = _sums(members)
    if wrong := sorted(name for name, sha256 in {*sums.items()} ^ {*manifest["members"].items()}):
        raise InputError(f"{wrong[0]}: missing, damaged, or not what the manifest names")
    for name, content in members.items():
        store.write_bytes(folder / name, content)
    return manifest


def _draw(
    target: Mapping[str, Any], members: Mapping[str, str], folder: Path, output: Path, modules: Collection[str]
) -> list[Path]:
    for part in target["parts"]:
        if part["module"] and part["module"] not in modules:
            raise InputError(f"found an analysis of {part['module']!r}; add the --configfile that names it")
    if not re.fullmatch(r"\w+", target["name"]) or not set(targets.inputs_of(target)) <= set(members):
        raise InputError(f"found the target {target['name']!r}, which is not made of members")
    moved = targets.with_inputs(target, lambda member: str(folder / member))
    paper = None if target["kind"] == "figure" else folder / targets.PAPER_VALUES
    return render.write(moved, paper, output / PLACES.get(target["kind"], "{}.csv").format(target["name"]))


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


def _sums(members: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
