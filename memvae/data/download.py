"""Raw files: from the user's folder, otherwise from a public URL; checked by sha256 and written atomically."""

import gzip
import hashlib
import os
import time
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from memvae import __version__
from memvae.errors import InputError
from memvae.settings.rules import user_path

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 4.0, 0.0)  # seconds after each round of all homes
LIMIT = 200_000_000  # bytes of one file; the largest has 10 MB
FOLDER_VARIABLE = "MEMVAE_DATA_FOLDER"
DEMO = "`--config scale=demo` needs no download"


def data_folder(setting: str = "") -> Path | None:
    """The user's folder of downloaded files: the config key `data_folder`, else MEMVAE_DATA_FOLDER, else None.

    Raises InputError, which names the setting, when it is no folder.
    """
    chosen, name = setting or os.environ.get(FOLDER_VARIABLE, ""), "data_folder" if setting else FOLDER_VARIABLE
    if not chosen:
        return None
    folder = user_path(chosen, name)
    if not folder.is_dir():
        raise InputError(f"{name}: found {str(folder)!r}, expected a folder; correct the path or leave it out; {DEMO}")
    return folder


def fetch(
    dataset: str,
    name: str,
    entry: Mapping[str, Any],
    destination: Path,
    folder: Path | None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Puts the raw file `name` of a data set at `destination`, unless it is already there.

    `entry` is the file's entry in the config: `sha256` or `sha256_rows`, and `homes`, URL prefixes ending in `/`.
    The file is taken from the first place that has it: `destination`; in `folder` `<dataset>/<name>`, `<name>`, and the
    two with `.gz` appended, unpacked; each home, three times. `report` gets lines of progress. `destination` never
    holds part of a file.
    Raises InputError when no place has the file, or when the folder has another file of that name.
    """
    if destination.is_file() and not _difference(destination.read_bytes(), entry):
        report(f"{dataset}/{name}: already there")
        return
    path = in_folder(dataset, name, folder) if folder else None
    if path:
        content, source = _read(path, path.name != name), str(path)
        found = _difference(content, entry) if content is not None else "no readable file"
    else:
        content, source, found = _from_homes(dataset, name, entry, folder, report)
    if content is None or found:
        kind = "sha256 of the sorted rows" if "sha256_rows" in entry else "sha256"
        raise InputError(
            f"{source}: found {found}; expected {kind} {expected(entry)}; put the file at <folder>/{dataset}/{name} "
            f"and name the folder in the config key data_folder or in {FOLDER_VARIABLE}; {DEMO}"
        )
    from memvae.files import store  # here, for Snakemake reads this module at every dry run, and store needs numpy

    store.write_bytes(destination, content)
    report(f"{dataset}/{name}: taken from {source}")


def expected(entry: Mapping[str, Any]) -> str:
    """The checksum that the config states."""
    return str(entry["sha256_rows"] if "sha256_rows" in entry else entry["sha256"])


def checksum(content: bytes, entry: Mapping[str, Any]) -> str:
    """sha256 of a file; where the config states `sha256_rows`, of its non-empty rows, sorted and joined by newlines."""
    if "sha256_rows" in entry:
        content = b"\n".join(sorted(row for row in content.splitlines() if row))
    return hashlib.sha256(content).hexdigest()


def in_folder(dataset: str, name: str, folder: Path) -> Path | None:
    """The path of a raw file in the user's folder, perhaps with `.gz` appended; its content is not checked."""
    candidates = [folder / dataset / name, folder / name]
    if not name.endswith(".gz"):
        candidates += [path.with_name(path.name + ".gz") for path in candidates]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read(path: Path, packed: bool) -> bytes | None:
    """The content of a file in the user's folder; None where it cannot be read."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if packed else content
    except (OSError, EOFError, zlib.error):
        return None


def _from_homes(
    dataset: str, name: str, entry: Mapping[str, Any], folder: Path | None, report: Callable[[str], None]
) -> tuple[bytes | None, str, str]:
    """The file from the first home that has it: content, source, and what was found where none has it."""
    failures = {str(folder): "missing"} if folder else {"data_folder": "not given"}
    for pause in PAUSES if entry.get("homes") else ():
        for home in entry["homes"]:
            url, failure = home + quote(name), ""
            report(f"{dataset}/{name}: asking {url}")
            request = urllib.request.Request(url, headers={"User-Agent": f"memvae/{__version__}"})
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                    content = response.read(LIMIT)
                failure = _difference(content, entry)
            except (OSError, HTTPException) as error:
                failure = " ".join(str(error).split())[:100]
            if not failure:
                return content, url, ""
            report(f"{dataset}/{name}: {url}: {failure}")
            failures[urlsplit(home).netloc or home] = failure
        time.sleep(pause)
    where = "; ".join(f"{place}: {failure}" for place, failure in failures.items())
    return None, f"{dataset}/{name}", f"it nowhere ({where})"


def _difference(content: bytes, entry: Mapping[str, Any]) -> str:
    """What a file is instead of the expected one; empty when it is that one."""
    found = checksum(content, entry)
    if found == expected(entry):
        return ""
    if content[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return f"an HTML page ({len(content):,} bytes)"
    return f"{len(content):,} bytes with sha256 {found[:12]}..."
