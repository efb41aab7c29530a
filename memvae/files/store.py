"""The only reader and writer of the project's HDF5 files: atomic, checked, with provenance.

A file begins with a line of text, in the user block that HDF5 leaves to applications: the sha256 of everything after
it. We check it before HDF5 reads the file, because HDF5 can hang on a damaged file and does not detect damaged
attributes. Then come arrays (possibly in groups) and attributes of the root: `format` (`memvae/<kind>`),
`format_version`, `sha256` (of the arrays), and the provenance that `docs/files.md` lists. Two identical runs write
identical bytes; values that differ between them (seconds, host, time of day) go to `<file>.run.json`.
"""

import contextlib
import filecmp
import hashlib
import io
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from memvae import __version__
from memvae.errors import InputError, Unreadable
from memvae.settings.config import making

FORMAT_VERSION = 1
SEAL, USER_BLOCK = b"memvae sha256 ", 512
COMPRESSED_FROM = 4096  # bytes; below, chunking costs more than it saves
PACKAGES = ("torch", "numpy", "h5py", "scipy", "scikit-learn")  # what computes
DRAWING = ("numpy", "h5py", "pandas", "matplotlib")  # what tables and figures are drawn with

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Stored:
    """What was read: arrays by their path in the file, attributes decoded. A missing one is refused by its name."""

    path: Path
    arrays: dict[str, np.ndarray]
    attributes: dict[str, Any]

    def group(self, name: str) -> dict[str, np.ndarray]:
        """The arrays below `name/`, without that prefix."""
        return {key[len(name) + 1 :]: value for key, value in self.arrays.items() if key.startswith(name + "/")}

    def without(self, name: str) -> "Stored":
        """The same without the arrays below `name/`."""
        arrays = {key: value for key, value in self.arrays.items() if not key.startswith(name + "/")}
        return replace(self, arrays=arrays)

    @property
    def spec(self) -> dict[str, Any]:
        """Of the run that it came from."""
        return self.attribute("spec")

    @property
    def run(self) -> str:
        return self.spec["run"]

    @property
    def seed(self) -> int:
        return self.spec["seed"]

    @property
    def epochs(self) -> int:
        return int(self.attribute("epoch"))

    @property
    def image(self) -> tuple[int, int]:
        """Rows and columns of an image, in pixels."""
        rows, columns = self.spec["network"]["image"]
        return rows, columns

    @property
    def images(self) -> int | None:
        """Number of test images of an analysis whose arrays do not show it; None where the file does not say."""
        return self.attributes.get("images")

    @property
    def has_memory(self) -> bool:
        return any(self.spec["network"]["slots"])

    @property
    def settings(self) -> dict[str, Any]:
        return self.attribute("settings")

    def attribute(self, name: str) -> Any:
        return self._found(self.attributes, name, "attribute")

    def setting(self, name: str) -> Any:
        return self._found(self.settings, name, "entry in `settings`")

    def array(self, name: str) -> np.ndarray:
        return self._found(self.arrays, name, "array")

    def has(self, array: str) -> bool:
        return array in self.arrays

    def _found(self, mapping: Mapping[str, Any], name: str, what: str) -> Any:
        if name not in mapping:
            raise InputError(
                f"{self.path}: has no {what} {name!r}; it was made by another version: delete it and make it again"
            )
        return mapping[name]


def write(path: Path | str, kind: str, arrays: Arrays, attributes: Mapping[str, Any], compress: bool = True) -> None:
    """Writes an HDF5 file so that `path` holds either what it held before or all of the new file.

    Attributes that are mappings, lists or None are stored as JSON; keys and arrays are sorted, for equal bytes.
    Raises InputError when the folder cannot be written.
    """
    arrays = {key: np.ascontiguousarray(value) for key, value in sorted(arrays.items())}
    with replacing(path) as temporary:
        buffer = io.BytesIO()  # in memory, for HDF5 crashes where a disk is full
        with h5py.File(buffer, "w", userblock_size=USER_BLOCK) as file:
            for key, value in arrays.items():
                zipped = compress and value.nbytes >= COMPRESSED_FROM
                file.create_dataset(key, data=value, **({"compression": "gzip", "shuffle": True} if zipped else {}))
            file.attrs["format"] = f"memvae/{kind}"
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["sha256"] = checksum(arrays)
            for key, value in sorted(attributes.items()):
                plain = isinstance(value, str | int | float | bool | np.number)
                file.attrs[key] = value if plain else json.dumps(value, sort_keys=True)
        content = buffer.getbuffer()
        seal = _seal(hashlib.sha256(content[USER_BLOCK:]))
        content[: len(seal)] = seal
        with open(temporary, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())


def read(path: Path | str, kind: str = "") -> Stored:
    """Reads a file of the given kind (`kind` may be a prefix, as `analysis` of `analysis/slots`; empty: any kind).

    Raises InputError when it is missing, damaged, of another program, of another kind or of a newer format; Unreadable,
    which is one, when it cannot be read just now. A file has its name only when it is whole, so no lock is asked for.
    """
    path, wanted = Path(path), f"memvae/{kind}".rstrip("/")
    content = read_bytes(path, f"a {wanted} file")
    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    seal = _seal(hashlib.sha256(memoryview(content)[USER_BLOCK:]))
    # or HDF5's own signature: made by another program, as docs/files.md describes; its arrays are checked
    if not content.startswith((b"\x89HDF", seal)):
        raise InputError(f"{path}: damaged or no memvae file; delete it and make it again")
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            raw = dict(file.attrs)
            found, version = str(raw.get("format", "no memvae format")), int(raw.get("format_version", 0))
            if found != wanted and not found.startswith(f"{wanted}/"):
                raise InputError(f"{path}: found {found}, expected {wanted}; name another file")
            if version > FORMAT_VERSION:
                raise InputError(f"{path}: format version {version}, expected at most {FORMAT_VERSION}; update memvae")
            file.visititems(collect)
    except MemoryError as error:
        raise Unreadable(f"{path}: cannot be read here (too little memory); the file stays") from error
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: damaged or no HDF5 file ({reason}); delete it and make it again") from error
    if checksum(arrays) != raw.get("sha256"):
        raise InputError(f"{path}: damaged (its arrays do not have the recorded sha256); delete it and make it again")
    return Stored(path, arrays, {key: _decode(value) for key, value in raw.items()})


def read_bytes(path: Path | str, expected: str) -> bytes:
    """The bytes of a file. expected: what it should be, in words.

    Raises InputError when there is none, Unreadable when it cannot be read just now.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected {expected}; make it with {making(path)}") from None
    except OSError as error:
        reason = error.strerror or error
        raise Unreadable(f"{path}: cannot be read just now ({reason}), expected {expected}; the file stays") from None


def checksum(arrays: Arrays) -> str:
    """sha256 over the names, types, shapes and bytes of the arrays, in the order of their names."""
    digest = hashlib.sha256()
    for key, value in sorted(arrays.items()):
        value = np.asarray(value)
        digest.update(f"{key} {value.dtype.str} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def file_checksum(path: Path | str) -> str:
    """sha256 of the bytes of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(device: str = "cpu", names: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Attributes of every file: code and package versions and the kind of device that computed."""
    packages = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    return {"code_version": f"{__version__}+{_source_hash()}", "packages": packages, "device": device}


def write_run_json(
    path: Path | str,
    started: float,
    inputs: Iterable[Path | str] = (),
    outputs: Iterable[Path | str] = (),
    **facts: Any,
) -> None:
    """`<file>.run.json`: what differs between two identical runs (seconds, time of day, host, attempts), and the sha256
    of every file that was read and of every file that was written, for `memvae trace`.

    started: `time.monotonic()` when the work began, in seconds: no clock that can be set.
    """
    earlier, path = read_record(path), Path(f"{path}.run.json")
    record = {
        "seconds": round(time.monotonic() - started, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "machine": platform.machine(),
        "processor": processor(),
        "command": sys.argv[1:],
        "attempts": earlier.get("attempts", 0) + 1,
        "inputs": {str(file): file_checksum(file) for file in inputs},
        "outputs": {str(file): file_checksum(file) for file in outputs},
        **facts,
    }
    write_text(path, json.dumps(record, indent=1, sort_keys=True) + "\n")


def read_record(path: Path | str) -> dict[str, Any]:
    """`<file>.run.json` of a file. What is missing, cannot be read, or is no record counts as no record: empty."""
    try:
        record = json.loads(Path(f"{path}.run.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    kinds: dict[str, Any] = {"attempts": int, "seconds": (int, float), "inputs": dict, "outputs": dict}
    whole = isinstance(record, dict) and all(isinstance(record[k], kind) for k, kind in kinds.items() if k in record)
    return record if whole else {}


@cache
def processor() -> str:
    """The processor's name and the number of its cores that this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def write_text(path: Path | str, text: str) -> None:
    """Writes a text file as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path | str, content: bytes) -> None:
    """Writes a file so that `path` holds what it held before or all of it. Raises InputError where that fails."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Gives the name of a temporary file beside `path`, to be written; after the block it takes the place of `path`.

    When the block fails, `path` is what it was, and the temporary file is gone. A file that already has the same bytes
    is left as it is, with its age: nothing that depends on it is made again.
    Raises InputError when the folder cannot be written, or has no space.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if not (path.exists() and filecmp.cmp(temporary, path, shallow=False)):
                os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # not there, or its folder is none
            temporary.unlink()


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Within it an error of the system is that `path` cannot be written: InputError."""
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error.strerror or error).split())
        raise InputError(f"{path}: cannot be written ({reason}); check space and permissions") from error


def _seal(digest: Any) -> bytes:
    """The line a file begins with. digest: sha256 of what follows the user block."""
    line: bytes = SEAL + digest.hexdigest().encode() + b"\n"
    return line


def _decode(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str) and value[:1] in ("{", "[", "n"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value.item() if isinstance(value, np.generic) else value


@cache
def _source_hash() -> str:
    """First 12 digits of the sha256 of the package's sources: names the code also where there is no git."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for source in sorted(folder.rglob("*.py")):
        digest.update(source.relative_to(folder).as_posix().encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:12]
