"""What stays on the disk of documents that were read: one folder under one limit.

Three kinds lie here: keys and values of what was read whole (engine/kept.py), texts that were extracted
(text/kept.py) and indices of long documents' words (read/indexed.py). All hold what the documents say: the
files are for their owner alone (0600). Where there are more bytes than the limit, the least recently used go
first.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from xgen.errors import XgenError
from xgen.files import cache_folder, require_room, whole_file

WHOLE = ".safetensors"
TEXT = ".text"
WORDS = ".words"
KINDS = (WHOLE, TEXT, WORDS)

LIMIT_BYTES = 2_000_000_000
"""Of all files together, unless XGEN_CACHE_GB says otherwise."""


@dataclass(frozen=True)
class Shelved:
    """A file on the shelf: its bytes, and when it was used last (seconds since 1970)."""

    path: Path
    n_bytes: int
    used: float


def folder() -> Path:
    """Where the files are."""
    return cache_folder() / "documents"


def limit_bytes() -> int:
    """What all files may take together; XGEN_CACHE_GB=0 keeps none.

    Raises XgenError if XGEN_CACHE_GB is no number of gigabytes.
    """
    said = os.environ.get("XGEN_CACHE_GB", "")
    if not said:
        return LIMIT_BYTES
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", said):
        raise XgenError("XGEN_CACHE_GB", f"{said!r} is no number of gigabytes", "set it to 2, 0.5 or 0")
    return round(float(said) * 1e9)


def path_of(key: str, kind: str) -> Path:
    """The file of `key`; `kind` is one of KINDS."""
    return folder() / f"{key}{kind}"


@contextmanager
def shelved(path: Path) -> Iterator[Path]:
    """Yield a draft that becomes `path` if the block succeeds; `make_room` is for the caller.

    Raises OSError or NoRoom where the disk is not to be written or full; nothing half-written stays.
    """
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    with whole_file(path, mode=0o600) as draft:
        yield draft


def sealed(key: str, packed: bytes) -> bytes:
    """`packed` behind a digest of it and of the name that it is kept under."""
    return hashlib.sha256(key.encode() + packed).digest() + packed


def opened(path: Path) -> bytes | None:
    """What was sealed in a file; None if it is damaged or was written under another name. OSError if none."""
    data = path.read_bytes()
    packed = data[hashlib.sha256().digest_size :]
    return packed if data == sealed(path.stem, packed) else None


def code_digest(files: Iterable[Path], libraries: Iterable[str]) -> str:
    """Digest of code and of the versions of libraries, part of the names of what they make.

    So nobody has to raise a number when the code changes.
    """
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    for library in libraries:
        with suppress(metadata.PackageNotFoundError):  # brought in some other way
            digest.update(f"{library} {metadata.version(library)}".encode())
    return digest.hexdigest()


def used(path: Path) -> None:
    """Say that a file was used just now."""
    with suppress(OSError):  # removed meanwhile, or not ours: the order of removal suffers, nothing else
        os.utime(path)


def drop(path: Path) -> None:
    """Remove a file that is of no use."""
    with suppress(OSError):
        path.unlink()


def files() -> list[Shelved]:
    """All files of all kinds, the last used first."""
    found = []
    for path in (path for kind in KINDS for path in folder().glob(f"*{kind}")):
        with suppress(OSError):  # another process has just removed it
            stat = path.stat()
            found.append(Shelved(path, stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda file: -file.used)


def clear() -> int:
    """Remove all files of all kinds, half-written ones of killed processes too; returns how many bytes."""
    removed = 0
    for path in [*(file.path for file in files()), *folder().glob(".*")]:
        with suppress(FileNotFoundError):  # another process was faster
            n_bytes = path.stat().st_size
            path.unlink()
            removed += n_bytes
    return removed


def make_room(n_bytes: int = 0) -> None:
    """Remove the least recently used until `n_bytes` more fit under the limit, and drafts an hour old.

    With 0: what is over the limit, which may have been lowered since. NoRoom if the disk has less free.
    """
    limit = limit_bytes() - n_bytes
    for draft in folder().glob(".*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > 3600:
                draft.unlink()
    total = 0
    for file in files():
        total += file.n_bytes
        if total > limit:
            drop(file.path)
    require_room(folder(), n_bytes)
