"""Long documents counted, cut and indexed once: found again by their texts, the tokenizer and our code.

What the words of a folder's documents point to takes seconds to work out and a tenth of one to read back. The
files lie on the shelf (shelf.py), for their owner alone; one that is damaged or of another form is removed
and made anew. Nothing here costs an answer.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from xgen import shelf
from xgen.errors import NoRoom
from xgen.read.select import Index, Passage, Ranking, rank_passages
from xgen.read.sources import Sources
from xgen.show import note
from xgen.text.tokenizer import Tokenizer

FORM = "1"
"""Of the files; another one is never read."""

FROM_CHARACTERS = 200_000
"""Shorter texts, of some fifty pages, are indexed anew in a third of a second."""

CODE = (
    *(f"read/{name}.py" for name in ("select", "sources", "words")),
    *(f"text/{name}.py" for name in ("headers", "ranked", "sentences", "tokenizer")),
)
LIBRARIES = ("bm25s", "tokenizers", "tiktoken")

ARRAYS = ("names", "offsets", "passages", "columns", "starts", "rows", "scores", "holders")
"""That a file holds, as `store` makes them."""

Offsets = list[tuple[int, int]]


@dataclass(frozen=True)
class KeptIndex:
    """A kept index: its documents' names, its passages, and when it was used last."""

    path: Path
    documents: tuple[str, ...]
    n_passages: int
    n_bytes: int
    used: float


def indexed(sources: Sources, tokenizer: Tokenizer, keep: bool) -> tuple[Offsets, Ranking]:
    """The tokens' places in the sources' text, and its passages; long ones from the disk if they are there.

    With `keep` they are there the next time, unless the disk is full, which is said.
    """
    keep = keep and len(sources.text) >= FROM_CHARACTERS and shelf.limit_bytes() > 0
    key = key_of(sources, tokenizer) if keep else ""
    if keep and (found := recall(key, sources)) is not None:
        return found
    _, offsets = tokenizer.encode_with_offsets(sources.text)
    ranking = rank_passages(sources, offsets)
    if keep:
        try:
            store(key, sources, offsets, ranking)
        except (OSError, NoRoom) as error:
            reason = error.what if isinstance(error, NoRoom) else (error.strerror or str(error)).lower()
            note(f"the index of the documents' words is not kept for the next time: {reason}")
    return offsets, ranking


def key_of(sources: Sources, tokenizer: Tokenizer) -> str:
    """The name under which the index of these texts is kept, whatever their files are called."""
    digest = hashlib.sha256(f"{FORM} {_code()} {tokenizer.identity} {sources.starts} ".encode())
    digest.update(sources.text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def store(key: str, sources: Sources, offsets: Offsets, ranking: Ranking) -> bool:
    """Keep an index, made now if it was not yet; False if it is over the limit.

    Raises OSError or NoRoom where the disk is not to be written or full; nothing half-written stays.
    """
    index = ranking.index
    arrays: dict[str, NDArray[Any]] = {
        "names": _bytes([document.path for document in sources.documents]),
        "offsets": np.array(offsets, np.uint32).reshape(-1, 2),
        "passages": np.array([(p.start, p.end, p.n_tokens) for p in ranking.passages], np.uint32).reshape(
            -1, 3
        ),
        "columns": _bytes(index.columns),
        "starts": index.starts,
        "rows": index.rows,
        "scores": index.scores,
        "holders": _bytes(index.holders),
    }
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    data = shelf.sealed(key, packed.getvalue())
    if len(data) > shelf.limit_bytes():
        return False
    shelf.make_room(len(data))
    with shelf.shelved(shelf.path_of(key, shelf.WORDS)) as draft:
        draft.write_bytes(data)
    return True


def recall(key: str, sources: Sources) -> tuple[Offsets, Ranking] | None:
    """What is kept under `key`, which is that of `sources`; None if there is nothing sound."""
    path = shelf.path_of(key, shelf.WORDS)
    try:
        arrays = _read(path)
    except OSError:
        return None
    if arrays is None:
        shelf.drop(path)
        return None
    shelf.used(path)
    offsets = [*zip(*arrays["offsets"].T.tolist(), strict=True)]
    passages = tuple(Passage(*numbers) for numbers in arrays["passages"].tolist())
    index = Index(
        _json(arrays["columns"]), arrays["starts"], arrays["rows"], arrays["scores"], _json(arrays["holders"])
    )
    texts = tuple(sources.text[passage.start : passage.end] for passage in passages)
    return offsets, Ranking(passages, texts, index)


def entries() -> list[KeptIndex]:
    """All kept indices, the last used first; what cannot be read as one without the names of documents."""
    found = []
    for file in shelf.files():
        if file.path.suffix == shelf.WORDS:
            with suppress(OSError):  # another process has just removed it
                found.append(KeptIndex(file.path, *_described(file.path), file.n_bytes, file.used))
    return found


def _described(path: Path) -> tuple[tuple[str, ...], int]:
    """Documents and passages by a file's own words, without the whole of it; nothing where it is damaged."""
    try:
        with ZipFile(path) as file:
            names, passages = (_array(file, name) for name in ("names", "passages"))
        return tuple(map(str, _json(names))), len(passages)
    except (ValueError, TypeError, KeyError, EOFError, RuntimeError, BadZipFile):
        return (), 0


def _array(file: ZipFile, name: str) -> NDArray[Any]:
    with file.open(f"{name}.npy") as member:
        found: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return found


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays in a file; None if it is not as it was written under its name, or of another form."""
    packed = shelf.opened(path)
    if packed is None:
        return None
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            return {name: file[name] for name in ARRAYS}
    except (ValueError, KeyError, BadZipFile):  # of another form, as of a later xgen
        return None


def _bytes(said: Sequence[str] | dict[str, int]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(said, separators=(",", ":")).encode(), np.uint8)


def _json(array: NDArray[np.uint8]) -> Any:
    return json.loads(array.tobytes())


@cache
def _code() -> str:
    """Of the code that counts, cuts and indexes and of its libraries."""
    return shelf.code_digest((Path(__file__).parents[1] / name for name in CODE), LIBRARIES)
