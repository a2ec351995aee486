"""Files that are whole or not there: write then rename, digests, room on the disk, the cache folder."""

import errno
import glob
import hashlib
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xgen.errors import NoRoom, XgenError


def cache_folder() -> Path:
    """Where models are kept: `XGEN_HOME`, else `XDG_CACHE_HOME`/xgen, else ~/.cache/xgen."""
    home = os.environ.get("XGEN_HOME")
    if home:
        return Path(home).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "xgen"


def model_folder(name: str) -> Path:
    """Where the model `name`, or OWNER/NAME of the hub, is kept once it is pulled."""
    return cache_folder() / "models" / name.replace("/", "--")


def shipped_file(name: str) -> Path | None:
    """The file that the package itself brings of the model `name`, if it does (formats/shipped.py)."""
    path = Path(__file__).parent / "shipped" / f"{name}.safetensors"
    return path if path.is_file() else None


def shipped_adapter(name: str) -> Path | None:
    """The folder of the adapter that makes the model `name`, if the package brings one."""
    path = Path(__file__).parent / "shipped" / name
    return path if path.is_dir() else None


def shipped_text(name: str) -> str:
    """The text NAME.txt that the package brings."""
    return (Path(__file__).parent / "shipped" / f"{name}.txt").read_text(encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 digest of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_room(folder: Path, n_bytes: int) -> None:
    """Raise NoRoom unless the disk that will hold `folder` has `n_bytes` free."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < n_bytes:
        raise NoRoom(
            str(folder),
            f"{n_bytes / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free",
            "make room or set XGEN_HOME to a folder on another disk",
        )


@contextmanager
def no_room_named(folder: Path) -> Iterator[None]:
    """Turn the system's "no space left" inside the block into NoRoom naming `folder`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoRoom(
            str(folder), "the disk is full", "make room or set XGEN_HOME to a folder on another disk"
        ) from error


@contextmanager
def held_alone(lock: Path, where: str, what: str) -> Iterator[None]:
    """Hold the file `lock` for this process; XgenError of `where` and `what` while another one holds it.

    The system lets go of it when the process ends, however it ends. Windows has no such locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise XgenError(where, what, "wait until it has ended") from error
        yield


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name beside `path`, flush it to the disk, rename it."""
    with whole_file(path) as draft, draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def whole_file(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary file beside `path`, made with `mode`, that becomes `path` if the block succeeds.

    Whatever goes wrong, nothing half-made stays; what a process that was killed left of `path` an hour
    ago goes too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 32}"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > 3600:
                old.unlink()
    draft = _draft_of(path)
    try:
        with no_room_named(path.parent):
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
            yield draft
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path` that becomes `path` if the block succeeds.

    Whatever goes wrong, nothing half-made stays. If another process made `path` meanwhile, its
    folder is kept and ours is dropped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft_of(path)
    draft.mkdir()
    try:
        with no_room_named(path.parent):
            yield draft
        try:
            draft.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; one that is there stays until then, and goes after."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def forget_drafts(folder: Path) -> None:
    """Remove what processes that were killed left of `folder`; only for who alone may write it."""
    for draft in folder.parent.glob(f".{glob.escape(folder.name)}.{'[0-9a-f]' * 32}"):
        shutil.rmtree(draft, ignore_errors=True)


def _draft_of(path: Path) -> Path:
    """A hidden name beside `path` that nobody else uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")
