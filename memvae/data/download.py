"""Raw files: from the user's folder, else from a public home, checked by sha256 and put in place atomically."""

import gzip
import hashlib
import os
import socket
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from memvae import __version__
from memvae.errors import InputError
from memvae.settings.rules import user_path

SCHEMES: tuple[str, ...] = ("https",)  # of a home (the config's schema asks the same); tests add http for 127.0.0.1
TIMEOUT = 30.0  # seconds without a byte
SLOWEST = 1000.0  # bytes a second on average, once TIMEOUT has passed; the largest file then takes three hours
PAUSES = (1.0, 4.0)  # seconds before the second and the third try of a home
LIMIT = 200_000_000  # bytes of one file, unpacked; the largest has 10 MB
CHUNK = 1 << 16  # bytes
FOLDER_VARIABLE = "MEMVAE_DATA_FOLDER"


def data_folder(setting: str = "") -> Path | None:
    """The user's folder of downloaded files: the config key `data_folder`, else MEMVAE_DATA_FOLDER, else None."""
    chosen = setting or os.environ.get(FOLDER_VARIABLE, "")
    return user_path(chosen, "data_folder" if setting else FOLDER_VARIABLE) if chosen else None


def check_folder(setting: str) -> None:
    """Raises InputError, which names the setting, when the user's folder is set and is no folder."""
    folder = data_folder(setting)
    if folder and not folder.is_dir():
        name = "data_folder" if setting else FOLDER_VARIABLE
        raise InputError(f"{name}: found {str(folder)!r}, expected a folder; correct the path or leave it out")


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
    Raises InputError when no place has the file, when the folder has another file of that name, or does not exist.
    """
    destination = Path(destination)
    if destination.is_file() and checksum(destination, entry) == expected(entry):
        report(f"{dataset}/{name}: already there")
        return
    if folder is not None and not Path(folder).is_dir():
        raise InputError(f"data_folder ({FOLDER_VARIABLE}): found {folder}, expected an existing folder; {_DEMO}")
    from memvae.files import store  # here, for the doctor reads this module where h5py is missing

    with store.replacing(destination) as temporary:
        source = _from_folder(dataset, name, entry, Path(folder), temporary) if folder is not None else ""
        source = source or _from_homes(dataset, name, entry, folder, temporary, report)
    report(f"{dataset}/{name}: taken from {source}")


def expected(entry: Mapping[str, Any]) -> str:
    """The checksum that the config states."""
    return str(entry["sha256_rows"] if "sha256_rows" in entry else entry["sha256"])


def checksum(path: Path, entry: Mapping[str, Any]) -> str:
    """sha256 of a file; where the config states `sha256_rows`, of its non-empty rows, sorted and joined by newlines."""
    if "sha256_rows" in entry:
        rows = sorted(row for row in Path(path).read_bytes().splitlines() if row)
        return hashlib.sha256(b"\n".join(rows)).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_folder(dataset: str, name: str, folder: Path) -> Path | None:
    """The path of a raw file in the user's folder, perhaps with `.gz` appended; its content is not checked."""
    candidates = [folder / dataset / name, folder / name]
    if not name.endswith(".gz"):
        candidates += [path.with_name(path.name + ".gz") for path in candidates]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


class _Failed(Exception):
    """One try of one home did not succeed; `again`: another may."""

    def __init__(self, reason: object, again: bool = False):
        super().__init__(" ".join(str(reason).split())[:100])
        self.again = again


def _from_folder(dataset: str, name: str, entry: Mapping[str, Any], folder: Path, temporary: Path) -> str:
    """Copies the file from the user's folder; returns where it was, nothing when it is not there."""
    path = in_folder(dataset, name, folder)
    if path is None:
        return ""
    packed = path.name != name
    try:
        with gzip.open(path) if packed else open(path, "rb") as source:
            data = source.read(LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        found = f"no readable {'gz ' if packed else ''}file ({reason})"
        raise InputError(_refusal(str(path), found, entry, dataset, name)) from error
    if len(data) > LIMIT:
        raise InputError(_refusal(str(path), f"more than {LIMIT:,} bytes", entry, dataset, name))
    _pour([data], temporary)
    if found := _difference(temporary, entry):
        raise InputError(_refusal(str(path), found, entry, dataset, name))
    return str(path)


def _from_homes(
    dataset: str,
    name: str,
    entry: Mapping[str, Any],
    folder: Path | None,
    temporary: Path,
    report: Callable[[str], None],
) -> str:
    """Downloads the file from the first home that has it."""
    found = [f"{folder}: missing" if folder is not None else "no data_folder given"]
    for home in entry.get("homes", []):
        url = home + quote(name)
        for pause in (*PAUSES, None):
            try:
                report(f"{dataset}/{name}: asking {url}")
                _pour(_download(url, f"{dataset}/{name}", report), temporary)
                if difference := _difference(temporary, entry):
                    raise _Failed(difference)
                return url
            except _Failed as failure:
                report(f"{dataset}/{name}: {url}: {failure}")
                if pause is None or not failure.again:
                    found.append(f"{urlsplit(home).netloc or home}: {failure}")
                    break
                time.sleep(pause)
    where = "; ".join(found)
    raise InputError(_refusal(f"{dataset}/{name}", f"it nowhere ({where})", entry, dataset, name))


def _download(url: str, title: str, report: Callable[[str], None]) -> Iterator[bytes]:
    """The bytes of a URL, piece by piece; a line of progress at every tenth of its length."""
    if urlsplit(url).scheme not in SCHEMES:
        raise _Failed(f"its URL does not begin with {' or '.join(SCHEMES)}")
    request = urllib.request.Request(url, headers={"User-Agent": f"memvae/{__version__}"})
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else 0
            got = tenths = 0
            started = time.monotonic()
            while (
                total <= LIMIT and got <= LIMIT and (chunk := response.read1(CHUNK))
            ):  # what is there, if it is little
                yield chunk
                got += len(chunk)
                seconds = time.monotonic() - started
                if seconds > TIMEOUT and got < SLOWEST * seconds:
                    raise _Failed(f"{got:,} bytes in {seconds:.0f} s, slower than {SLOWEST:,.0f} a second")
                if total and 10 * got // total > tenths:
                    tenths = 10 * got // total
                    report(f"{title}: {10 * tenths} % of {total / 1e6:.1f} MB")
    except urllib.error.HTTPError as error:
        raise _Failed(f"HTTP {error.code}", again=error.code >= 500 or error.code in (408, 429)) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        kind = "no network" if isinstance(reason, socket.gaierror) else "no connection"
        raise _Failed(f"{kind} ({getattr(reason, 'strerror', None) or reason})", again=True) from error
    if max(got, total) > LIMIT:
        raise _Failed(f"more than {LIMIT:,} bytes")
    if got < total:
        raise _Failed(f"{got:,} of {total:,} bytes", again=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """urllib follows a redirection to plain http and to ftp too; a home must keep to SCHEMES."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in SCHEMES:
            raise _Failed(f"redirected to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _pour(chunks: Iterable[bytes], temporary: Path) -> None:
    with open(temporary, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _difference(path: Path, entry: Mapping[str, Any]) -> str:
    """What the file is instead of the expected one; empty when it is that one."""
    found = checksum(path, entry)
    if found == expected(entry):
        return ""
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return f"an HTML page ({path.stat().st_size:,} bytes)"
    return f"{path.stat().st_size:,} bytes with sha256 {found[:12]}..."


_DEMO = "`--config scale=demo` needs no download"


def _refusal(what: str, found: str, entry: Mapping[str, Any], dataset: str, name: str) -> str:
    kind = "sha256 of the sorted rows" if "sha256_rows" in entry else "sha256"
    return (
        f"{what}: found {found}; expected {kind} {expected(entry)}; put the file at <folder>/{dataset}/{name} and name "
        f"the folder in the config key data_folder or in the environment variable {FOLDER_VARIABLE}; {_DEMO}"
    )
