"""Chosen documents to token ids, one cleaned unit at a time; a learned tokenizer's sample."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgen.data.clean import pieces_of, rank_of, read_documents
from xgen.data.document import Document
from xgen.files import sha256_of, whole_file
from xgen.text.tokenizer import TOKENIZER_FILE, Tokenizer

BATCH_CHARACTERS = 4_000_000
MAX_SAMPLE_CHARACTERS = 20_000  # of one document, so that no book makes a vocabulary
SAMPLE_TEMPERATURE = 0.7


@dataclass(frozen=True)
class Portion:
    """What is taken of a unit's `n_candidates` documents: their rows, and the pieces that go of each."""

    folder: Path
    source: str
    set: str
    rows: NDArray[np.int64]
    n_candidates: int
    gone: dict[int, frozenset[int]]

    def documents(self) -> Iterator[Document]:
        """The documents taken, in order, without the pieces that go."""
        taken = set(self.rows.tolist())
        for row, document in enumerate(read_documents(self.folder, self.source)):
            if row in taken:
                yield self.without(row, document)

    def digest(self) -> str:
        """Changes when what is taken does."""
        digest = hashlib.sha256(self.folder.name.encode())
        digest.update(self.rows.astype("<i8").tobytes())
        digest.update(str(sorted((row, sorted(pieces)) for row, pieces in self.gone.items())).encode())
        return digest.hexdigest()[:16]

    def without(self, row: int, document: Document) -> Document:
        """A document without its pieces that go."""
        gone = self.gone.get(row)
        if not gone:
            return document
        pieces = pieces_of(document.text, self.set)
        return replace(document, text="".join(piece for i, piece in enumerate(pieces) if i not in gone))


def encode_portion(portion: Portion, tokenizer_folder: Path, path: Path) -> None:
    """Write the ids of a portion's documents and their lengths to `path`, whole or not at all."""
    tokenizer = Tokenizer.from_folder(tokenizer_folder)
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    ids: list[NDArray[Any]] = [np.zeros(0, dtype)]
    lengths: list[int] = []
    for batch in _batches(document.text for document in portion.documents()):
        for row in tokenizer.encode_batch(batch):
            ids.append(np.asarray(row, dtype))
            lengths.append(len(row))
    with whole_file(path) as draft, draft.open("wb") as file:
        np.savez(file, ids=np.concatenate(ids), lengths=np.asarray(lengths, np.int64))


def encoded_file(portion: Portion, tokenizer_folder: Path, folder: Path, depends: str = "") -> Path:
    """Where the ids of a portion are kept: another file for all that they depend on."""
    whole = f"{portion.digest()} {sha256_of(tokenizer_folder / TOKENIZER_FILE)} {depends}"
    return folder / f"{portion.folder.name}.{hashlib.sha256(whole.encode()).hexdigest()[:16]}.npz"


def sample_texts(portions: Sequence[Portion], sizes: dict[str, int], sample_bytes: float) -> Iterator[str]:
    """Beginnings of documents, `sample_bytes` in all, shared among languages by bytes**0.7.

    `sizes` are the bytes of each language in the portions. Which documents: those of the least rank.
    """
    weights = {language: float(size) ** SAMPLE_TEMPERATURE for language, size in sizes.items()}
    wanted = {language: sample_bytes * weight / sum(weights.values()) for language, weight in weights.items()}
    share = {language: min(wanted[language] / max(sizes[language], 1), 1.0) for language in sizes}
    for portion in portions:
        for document in portion.documents():
            beginning = document.text[:MAX_SAMPLE_CHARACTERS]
            # A long document gives less than its size: it comes in as much more often, up to always.
            chance = share[document.language] * len(document.text) / max(len(beginning), 1)
            if int.from_bytes(rank_of(document)[:4], "big") < chance * (1 << 32):
                yield beginning


def held_out(ids: Sequence[bytes], share: float) -> list[bool]:
    """Which documents of a set are held out, by rank: `share` of them, and one of ten where there are ten."""
    chosen = [int.from_bytes(rank[:8], "big") < share * (1 << 64) for rank in ids]
    if share > 0 and not any(chosen) and len(ids) >= 10:
        chosen[min(range(len(ids)), key=lambda i: ids[i])] = True
    return chosen


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    room = BATCH_CHARACTERS
    for text in texts:
        batch.append(text)
        room -= len(text)
        if room <= 0:
            yield batch
            batch, room = [], BATCH_CHARACTERS
    if batch:
        yield batch
