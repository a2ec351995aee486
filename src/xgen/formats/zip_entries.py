"""Where the entries of a zip archive lie in its file. Nothing is believed before it fits the file.

The layout is PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5, with its 64-bit fields. Python's zipfile
reads whatever list of entries a file claims into memory, and does not ask whether two entries share bytes;
here only archives are read whose entries are stored as they are, apart from one another.
"""

import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from xgen.errors import BadModel
from xgen.formats.stored import DAMAGED, HOSTILE

MOST_ENTRIES = 1 << 16

_LOCAL, _CENTRAL, _END, _END_64, _LOCATOR_64 = (
    b"PK" + two for two in (b"\3\4", b"\1\2", b"\5\6", b"\6\6", b"\6\7")
)
_LOCAL_BYTES, _CENTRAL_BYTES, _END_BYTES, _END_64_BYTES, _LOCATOR_64_BYTES = 30, 46, 22, 56, 20
_STORED = 0
_ENCRYPTED = 1
_IN_64_BITS = 0xFFFFFFFF
_EXTRA_64 = 1
# torch.save puts the file's own name before "/data.pkl", with whatever is in it. Nothing in a name becomes a
# path here; a name that would climb out elsewhere shows what a file is for.
_NAME = re.compile(r"[^/\\\ufffd]+(/[^/\\\ufffd]+)*")


@dataclass(frozen=True)
class Entry:
    """An entry's bytes: `n_bytes` of the file from `start` on."""

    start: int
    n_bytes: int
    crc32: int


def read_entries(path: Path, data: mmap.mmap) -> dict[str, Entry]:
    """The entries of the archive `path`, mapped as `data`, by their names.

    Raises BadModel for a file that is cut or damaged, and for one with a compressed or encrypted entry, a
    name that stands in it twice or climbs out, or entries that share bytes.
    """
    count, first, end = _directory(path, data)
    start = first
    entries: dict[str, Entry] = {}
    spans: list[tuple[int, int, str]] = []
    for _ in range(count):
        start, name, header, entry = _entry(path, data, start, end)
        if name in entries:
            raise BadModel(str(path), f"the entry {name} stands in it twice", HOSTILE)
        entries[name] = entry
        spans.append((header, entry.start + entry.n_bytes, name))
    if start != end:
        raise BadModel(str(path), f"its list of entries is not that of {count:,}", DAMAGED)
    before, last = 0, ""
    for header, after, name in sorted(spans):
        if header < before:
            raise BadModel(str(path), f"the entries {last} and {name} share bytes", HOSTILE)
        before, last = after, name
    if before > first:
        raise BadModel(str(path), f"the entry {last} runs into the list of entries", HOSTILE)
    return entries


def _directory(path: Path, data: mmap.mmap) -> tuple[int, int, int]:
    """How many entries there are, and where the list of them begins and ends."""
    at = len(data) - _END_BYTES
    if at < 0 or data[at : at + 4] != _END:
        raise BadModel(str(path), "it is cut off, or something was added to its end", DAMAGED)
    count, n_bytes, start = struct.unpack_from("<HII", data, at + 10)
    locator = at - _LOCATOR_64_BYTES
    if locator >= 0 and data[locator : locator + 4] == _LOCATOR_64:
        (at,) = struct.unpack_from("<Q", data, locator + 8)
        if at + _END_64_BYTES > locator or data[at : at + 4] != _END_64:
            raise BadModel(str(path), "its end does not name its list of entries", DAMAGED)
        count, n_bytes, start = struct.unpack_from("<QQQ", data, at + 32)
    if count > MOST_ENTRIES:
        raise BadModel(str(path), f"it has {count:,} entries, above {MOST_ENTRIES:,}", HOSTILE)
    if start + n_bytes > at or n_bytes < count * _CENTRAL_BYTES:
        raise BadModel(str(path), "its list of entries does not fit it", DAMAGED)
    return count, start, start + n_bytes


def _entry(path: Path, data: mmap.mmap, at: int, end: int) -> tuple[int, str, int, Entry]:
    """Where the next record of the list begins, this one's name, its header's place, and the entry."""
    if at + _CENTRAL_BYTES > end or data[at : at + 4] != _CENTRAL:
        raise BadModel(str(path), "its list of entries is damaged", DAMAGED)
    flags, method = struct.unpack_from("<HH", data, at + 8)
    crc32, packed, n_bytes, n_name, n_extra, n_comment = struct.unpack_from("<IIIHHH", data, at + 16)
    (header,) = struct.unpack_from("<I", data, at + 42)
    after_name = at + _CENTRAL_BYTES + n_name
    following = after_name + n_extra + n_comment
    if following > end:
        raise BadModel(str(path), "its list of entries is damaged", DAMAGED)
    raw_name = data[at + _CENTRAL_BYTES : after_name]
    name = raw_name.decode("utf-8", "replace")
    climbs = not {".", ".."}.isdisjoint(name.split("/"))
    if climbs or not name.isprintable() or not _NAME.fullmatch(name):
        raise BadModel(
            str(path), f"an entry has the name {name[:80]!r}, which is not of a file in it", HOSTILE
        )
    extra = data[after_name : after_name + n_extra]
    n_bytes, packed, header = _in_64_bits(path, extra, n_bytes, packed, header)
    if method != _STORED or flags & _ENCRYPTED or packed != n_bytes:
        what = f"the entry {name} is packed, which torch never does"
        raise BadModel(str(path), what, HOSTILE)
    if header + _LOCAL_BYTES > len(data) or data[header : header + 4] != _LOCAL:
        raise BadModel(str(path), f"the entry {name} is not where the list says", DAMAGED)
    n_name, n_extra = struct.unpack_from("<HH", data, header + 26)
    start = header + _LOCAL_BYTES + n_name + n_extra
    if data[header + _LOCAL_BYTES : header + _LOCAL_BYTES + n_name] != raw_name:
        raise BadModel(str(path), f"the entry {name} has another name in its own header", HOSTILE)
    if start + n_bytes > len(data):
        raise BadModel(
            str(path), f"the entry {name} claims {n_bytes:,} bytes, which the file has not", DAMAGED
        )
    return following, name, header, Entry(start, n_bytes, crc32)


def _in_64_bits(path: Path, extra: bytes, *fields: int) -> tuple[int, ...]:
    """The fields of a record, those that do not fit 32 bits from its extra field (section 4.5.3)."""
    found = list(fields)
    while len(extra) >= 4:
        kind, n_bytes = struct.unpack_from("<HH", extra)
        values = extra[4 : 4 + n_bytes]
        if kind == _EXTRA_64:
            for index in (i for i, field in enumerate(found) if field == _IN_64_BITS):
                if len(values) < 8:
                    raise BadModel(str(path), "its list of entries is damaged", DAMAGED)
                (found[index],) = struct.unpack_from("<Q", values)
                values = values[8:]
        extra = extra[4 + n_bytes :]
    return tuple(found)
