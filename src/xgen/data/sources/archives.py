"""Archives, read in memory and in order: .deb, .whl, .tgz. What climbs, links or swells is a fault, told.

Nothing of an archive is ever written to the disk, and none of its paths is used as a path here.
"""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tarfile import EOFHeaderError, HeaderError  # type: ignore[attr-defined]
from typing import IO, Any

MAX_FILE_BYTES = 64 << 20  # one file of an archive, unpacked; the largest text met is 40 MB
MAX_ARCHIVE_BYTES = 4 << 30  # all of it, unpacked; the largest package met is 0.5 GB

_BLOCK_BYTES = 1 << 20
_ZST_BLOCK_BYTES = 4096  # a byte of zstandard may mean 32 KB, so this much 128 MB
_DAMAGES = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError),  # a zip with a method or a password that Python does not know
)


@dataclass(frozen=True)
class Member:
    """A file of an archive, or why it is not read: then `data` is empty and `fault` a word that says why."""

    path: str
    data: bytes
    fault: str = ""


class _Fault(Exception):
    """Why an archive is read no further, in a word."""


def members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The files of `archive` whose path is `wanted`, in its own order, without the leading "./".

    An archive that breaks off or is no archive ends with a member whose path is "" and whose fault is
    `archive_damaged` or `archive_too_large`.
    """
    try:
        if archive.suffix == ".deb":
            yield from _deb_members(archive, wanted)
        elif archive.suffix in (".whl", ".zip"):
            yield from _zip_members(archive, wanted)
        else:
            with gzip.open(archive) as stream:
                yield from _tar_members(stream, wanted)
    except _Fault as fault:
        yield Member("", b"", str(fault))
    except _DAMAGES:
        yield Member("", b"", "archive_damaged")


def unpacked(data: bytes, path: str) -> tuple[bytes, str]:
    """A file and its path without the compression its name says (.gz, .dz, .bz2, .xz, .zst).

    Raises ValueError if it is damaged or larger than `MAX_FILE_BYTES`.
    """
    stem, _, suffix = path.rpartition(".")
    if suffix not in ("gz", "dz", "bz2", "xz", "zst"):
        return data, path
    try:
        with closing(unpacking(io.BytesIO(data), suffix)) as stream:
            text: bytes = stream.read(MAX_FILE_BYTES + 1)
    except _DAMAGES as error:
        raise ValueError(f"the {suffix} file is damaged") from error
    if len(text) > MAX_FILE_BYTES:
        raise ValueError(f"unpacked it is larger than {MAX_FILE_BYTES >> 20} MiB")
    return text, stem


def unpacking(stream: IO[bytes], suffix: str) -> Any:
    """A binary file that reads what `stream` packs; `suffix` is "gz", "bz2", "xz", "zst" or anything else."""
    if suffix in ("gz", "dz"):
        return gzip.GzipFile(fileobj=stream)
    if suffix == "bz2":
        return bz2.BZ2File(stream)
    if suffix == "xz":
        return lzma.LZMAFile(stream)
    if suffix == "zst":
        return _unpacking_zst(stream)
    return stream


def _unpacking_zst(stream: IO[bytes]) -> Any:
    from xgen.errors import XgenError

    try:
        import zstandard
    except ImportError as error:
        raise XgenError(
            "zst", "the library zstandard is not installed", 'call `pip install "xgen[train]"`'
        ) from error

    class Frames(io.RawIOBase):
        """What the frames of a stream unpack to. The library's own reader takes a cut for the end."""

        def __init__(self) -> None:
            self.unpacker: Any = zstandard.ZstdDecompressor().decompressobj()
            self.ready, self.is_fresh = b"", True

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any, /) -> int:
            while not self.ready and self._more():
                pass
            n = min(len(buffer), len(self.ready))
            buffer[:n], self.ready = self.ready[:n], self.ready[n:]
            return n

        def _more(self) -> bool:
            packed: bytes = self.unpacker.unused_data if self.unpacker.eof else b""
            if self.unpacker.eof:
                self.unpacker, self.is_fresh = zstandard.ZstdDecompressor().decompressobj(), True
            packed = packed or stream.read(_ZST_BLOCK_BYTES)
            if not packed and not self.is_fresh:
                raise EOFError("it is cut")
            try:
                self.ready = self.unpacker.decompress(packed) if packed else b""
            except zstandard.ZstdError as error:
                raise OSError(str(error)) from error
            self.is_fresh = not packed
            return bool(packed)

    return io.BufferedReader(Frames(), _BLOCK_BYTES)


class _Part(io.RawIOBase):
    """The next `n_bytes` of a file: a decompressor must not see what stands behind its own."""

    def __init__(self, file: IO[bytes], n_bytes: int) -> None:
        self.file, self.left = file, n_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self.file.read(min(len(buffer), self.left))
        self.left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class _Header(tarfile.TarInfo):
    """Headers as they are; by itself tarfile takes a damaged one for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Any:
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:  # the blocks of zeros that end an archive
            raise
        except HeaderError as error:
            raise _Fault("archive_damaged") from error


class _Counted(io.RawIOBase):
    """What comes out of a decompressor, up to `MAX_ARCHIVE_BYTES`."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.left = stream, MAX_ARCHIVE_BYTES

    def read(self, size: int = -1) -> bytes:
        block: bytes = self.stream.read(min(size, _BLOCK_BYTES) if size >= 0 else _BLOCK_BYTES)
        self.left -= len(block)
        if self.left < 0:
            raise _Fault("archive_too_large")
        return block


def _deb_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """deb(5): an ar archive whose member data.tar.* holds the files."""
    with archive.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise _Fault("archive_damaged")
        while header := file.read(60):
            # ar(5): name 16, time 12, owner 6, group 6, mode 8, size 10, end 2; data padded to even.
            name, size = header[:16].decode("latin-1").strip().rstrip("/"), int(header[48:58])
            if len(header) < 60 or header[58:] != b"`\n":
                raise _Fault("archive_damaged")
            if name.startswith("data.tar"):
                part = io.BufferedReader(_Part(file, size), _BLOCK_BYTES)
                yield from _tar_members(unpacking(part, name.rpartition(".")[2]), wanted)
                return
            file.seek(size + size % 2, io.SEEK_CUR)
    raise _Fault("archive_damaged")


def _tar_members(stream: Any, wanted: Callable[[str], bool]) -> Iterator[Member]:
    counted: Any = _Counted(stream)
    with tarfile.open(fileobj=counted, mode="r|", bufsize=_BLOCK_BYTES, tarinfo=_Header) as tar:
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps all headers of a long archive
            path = info.name.removeprefix("./")
            if info.isdir() or not wanted(path):
                continue
            fault = _fault(path, info.size) or ("" if info.isreg() else "link_not_followed")
            if fault:
                yield Member(path, b"", fault)
                continue
            file = tar.extractfile(info)
            data = file.read() if file else b""
            if len(data) != info.size:
                raise _Fault("archive_damaged")
            yield Member(path, data)


def _zip_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    left = MAX_ARCHIVE_BYTES
    with zipfile.ZipFile(archive) as unzip:
        for info in unzip.infolist():
            path = info.filename
            if info.is_dir() or not wanted(path):
                continue
            fault = _fault(path, info.file_size)
            if stat.S_ISLNK(info.external_attr >> 16):
                fault = fault or "link_not_followed"
            if fault:
                yield Member(path, b"", fault)
                continue
            with unzip.open(info) as file:
                data = file.read(MAX_FILE_BYTES + 1)  # what is there may be more than what is said
            left -= len(data)
            if left < 0:
                raise _Fault("archive_too_large")
            yield Member(path, data) if len(data) <= MAX_FILE_BYTES else Member(path, b"", "file_too_large")


def _fault(path: str, n_bytes: int) -> str:
    if path.startswith("/") or "\\" in path or ".." in path.split("/"):
        return "path_climbs_out"
    return "file_too_large" if n_bytes > MAX_FILE_BYTES else ""
