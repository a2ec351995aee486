"""Texts that were extracted once: found again by the bytes of their files.

A text is named by a digest of the file's bytes, of our extracting code and of the libraries' versions. So
a file that changed, or that is extracted in another way by now, is extracted anew, whatever its name and
time say. The files lie on the shelf (shelf.py); a damaged one is removed. Nothing here costs a document.
"""

import hashlib
import json
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from xgen import shelf
from xgen.errors import NoRoom
from xgen.show import note
from xgen.text.document import Document

FORM = "1"
"""Of the files; another one is never read."""

FAST_S = 0.005
"""What was extracted in less, a short page of HTML, is extracted again rather than kept."""

LIBRARIES = ("pypdfium2", "lxml", "python-docx", "charset-normalizer")


@dataclass(frozen=True)
class KeptText:
    """A kept text: the file's name when it was extracted, its characters, and when it was used last."""

    path: Path
    document: str
    n_characters: int
    n_bytes: int
    used: float


def extracted_once(extract: Callable[[bytes, str], Document], data: bytes, name: str) -> Document:
    """`extract(data, name)`, or the same from the disk if these bytes were extracted before."""
    if not shelf.limit_bytes():
        return extract(data, name)
    key = key_of(extract.__module__, data)
    found = recall(key)
    if found is not None:
        return replace(found, path=name)
    started = time.perf_counter()
    document = extract(data, name)
    if time.perf_counter() - started < FAST_S:
        return document
    try:
        keep(key, document)
    except (OSError, NoRoom) as error:
        _say_once(error.what if isinstance(error, NoRoom) else (error.strerror or str(error)).lower())
    return document


def key_of(form: str, data: bytes) -> str:
    """The name under which the text of `data` is kept, extracted as `form` ("...pdf") by today's code."""
    digest = hashlib.sha256(f"{FORM} {_code()} {form} ".encode())
    digest.update(data)
    return digest.hexdigest()


def keep(key: str, document: Document) -> bool:
    """Keep a document; False if it is over the limit.

    Room is made once for all that is opened, not here: looking through the shelf takes longer than
    keeping a text. Raises OSError or NoRoom where the disk is not to be written or full; nothing
    half-written stays.
    """
    fields = [document.path, document.text, document.page_starts, document.has_lines, document.dropped]
    said = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    data = shelf.sealed(key, zlib.compress(said.encode("utf-8", "surrogatepass"), 1))
    if len(data) > shelf.limit_bytes():
        return False
    with shelf.shelved(shelf.path_of(key, shelf.TEXT)) as draft:
        draft.write_bytes(data)
    return True


def recall(key: str) -> Document | None:
    """What is kept under `key`; None if there is nothing sound."""
    path = shelf.path_of(key, shelf.TEXT)
    try:
        document = _read(path)
    except OSError:
        return None
    if document is None:
        shelf.drop(path)
    else:
        shelf.used(path)
    return document


def entries() -> list[KeptText]:
    """All kept texts, the last used first; a damaged one without the name of a document."""
    found = []
    for file in shelf.files():
        if file.path.suffix == shelf.TEXT:
            with suppress(OSError):  # another process has just removed it
                document = _read(file.path) or Document("", "")
                size = len(document.text)
                found.append(KeptText(file.path, document.path, size, file.n_bytes, file.used))
    return found


def _read(path: Path) -> Document | None:
    """The document in a file; None if it is not as it was written, or was not written under its name."""
    packed = shelf.opened(path)
    if packed is None:
        return None
    said = zlib.decompress(packed).decode("utf-8", "surrogatepass")
    name, text, page_starts, has_lines, dropped = json.loads(said)
    return Document(name, text, tuple(page_starts), has_lines, tuple(dropped))


@cache
def _code() -> str:
    """Of the code that extracts and of its libraries."""
    return shelf.code_digest(sorted((Path(__file__).parent / "extract").glob("*.py")), LIBRARIES)


@cache
def _say_once(reason: str) -> None:
    """One line for a whole folder: each of its files would say the same."""
    note(f"extracted texts are not kept for the next time: {reason}")
