"""No text of an evaluation is learned from: 13-grams of words, and 40-byte pieces of code.

As in appendix C of GPT-3 (Brown et al. 2020, https://arxiv.org/abs/2005.14165), a text overlaps an
evaluation where 13 of its words in a row stand in it. Here the paragraphs that hold them go, and the whole
document if it would be cut into more than ten pieces or lose half. Of Chinese and Japanese, where
characters count as words, 20 in a row. A program goes where 40 bytes of an evaluation's program, white
space apart, stand in it.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgen.data.shingles import UNSPACED, Hashes, ngrams, windows, word_hashes, words_of
from xgen.errors import XgenError
from xgen.files import sha256_of

WORDS = 13
WIDE_WORDS = 20
CODE_BYTES = 40
MIN_CODE_LETTERS = 20  # of a piece's 40 bytes: brackets and digits are anybody's
TABLE_BITS = 25
MAX_PIECES = 10
MAX_SHARE = 0.5


@dataclass(frozen=True)
class Evaluations:
    """What must not occur: sorted hashes, uint64, of runs of words and of pieces of code."""

    grams: Hashes
    wide_grams: Hashes
    code: Hashes

    @cached_property
    def grams_table(self) -> NDArray[np.bool_]:
        """Which first bits of a hash occur in `grams`."""
        return _table(self.grams)

    @cached_property
    def wide_table(self) -> NDArray[np.bool_]:
        """The same of `wide_grams`."""
        return _table(self.wide_grams)

    @cached_property
    def code_table(self) -> NDArray[np.bool_]:
        """The same of `code`."""
        return _table(self.code)

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Evaluations":
        """Hashes of texts, each for itself; what has "def " in it counts as code too."""
        grams, wide, code = ([np.zeros(0, np.uint64)] for _ in range(3))
        for text in texts:
            if "def " in text:
                code.append(_code_pieces(text))
            words = words_of(text)
            if len(words) < WORDS:
                continue
            is_wide = 2 * sum(len(word) == 1 and word > "\u3000" for word in words) > len(words)
            hashes = word_hashes(words)
            (wide if is_wide else grams).append(ngrams(hashes, WIDE_WORDS if is_wide else WORDS))
        return cls(*(np.unique(np.concatenate(part)) for part in (grams, wide, code)))

    def save(self, path: Path) -> None:
        """Write the three arrays as one .npz file."""
        with path.open("wb") as file:
            np.savez(file, grams=self.grams, wide_grams=self.wide_grams, code=self.code)

    @classmethod
    def load(cls, path: Path) -> "Evaluations":
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["grams"], arrays["wide_grams"], arrays["code"])


def evaluation_files(folders: Sequence[Path]) -> list[Path]:
    """The .jsonl and .jsonl.gz files in evaluation folders, sorted; XgenError if a folder has none."""
    files: list[Path] = []
    for folder in folders:
        found = sorted([*folder.rglob("*.jsonl"), *folder.rglob("*.jsonl.gz")])
        if not found:
            raise XgenError(
                str(folder), "it has no .jsonl or .jsonl.gz file", "name a folder of evaluation sets"
            )
        files += found
    return files


def digest_of(files: Sequence[Path]) -> str:
    """One digest for the contents of evaluation files."""
    return "-".join(sorted(sha256_of(path)[:8] for path in files))


def evaluation_texts(files: Sequence[Path]) -> Iterator[str]:
    """Every text in every field of every line of evaluation files; XgenError for one that is not such."""
    for path in files:
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
                for line in file:
                    if line.strip():
                        yield from _strings(json.loads(line))
        except (OSError, EOFError, ValueError) as error:
            raise XgenError(
                str(path), f"it cannot be read ({error})", "name a folder of JSON lines"
            ) from error


def texts_of_line(line: str) -> Iterator[str]:
    """Every text in a line of JSON, at any depth; the line itself if it is none."""
    try:
        yield from _strings(json.loads(line))
    except (ValueError, RecursionError):
        yield line


def overlapping_words(hashes: Hashes, language: str, evaluations: Evaluations) -> list[tuple[int, int]]:
    """Stretches [start, end) of words that stand in an evaluation, in order, apart from one another.

    A text of no stated language is looked at both ways, by words and by characters.
    """
    stretches: list[tuple[int, int]] = []
    for start, end in sorted(_runs(hashes, language, evaluations)):
        if stretches and start <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], max(end, stretches[-1][1]))
        else:
            stretches.append((start, end))
    return stretches


def _runs(hashes: Hashes, language: str, evaluations: Evaluations) -> Iterator[tuple[int, int]]:
    if language not in UNSPACED:
        found = _among(ngrams(hashes, WORDS), evaluations.grams, evaluations.grams_table)
        yield from ((start, start + WORDS) for start in found.tolist())
    if language in UNSPACED or not language:
        found = _among(ngrams(hashes, WIDE_WORDS), evaluations.wide_grams, evaluations.wide_table)
        yield from ((start, start + WIDE_WORDS) for start in found.tolist())


def overlapping_pieces(
    pieces: Sequence[str], hashes: Hashes, language: str, evaluations: Evaluations
) -> tuple[list[bool], int]:
    """For each paragraph whether it touches an evaluation's text, and how many stretches there are.

    `hashes` are those of the words of all the paragraphs joined.
    """
    stretches = overlapping_words(hashes, language, evaluations)
    if not stretches:
        return [False] * len(pieces), 0
    ends = np.cumsum([len(words_of(piece)) for piece in pieces])
    touched = np.zeros(len(pieces), np.bool_)
    for start, end in stretches:
        first, last = np.searchsorted(ends, [start, end - 1], side="right").tolist()
        touched[first : last + 1] = True
    return touched.tolist(), len(stretches)


def overlaps_code(code: str, evaluations: Evaluations) -> bool:
    """Whether 40 bytes in a row of a program, white space apart, stand in an evaluation's program."""
    pieces = windows(code, CODE_BYTES)
    return len(_among(pieces, evaluations.code, evaluations.code_table)) > 0


def _among(hashes: Hashes, known: Hashes, table: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices of those of `hashes` that are among `known`. The table answers nearly all of them at once."""
    likely = np.flatnonzero(table[hashes >> np.uint64(64 - TABLE_BITS)])
    places = np.minimum(np.searchsorted(known, hashes[likely]), len(known) - 1)
    found: NDArray[np.int64] = likely[known[places] == hashes[likely]]
    return found


def _table(known: Hashes) -> NDArray[np.bool_]:
    table = np.zeros(1 << TABLE_BITS, np.bool_)
    table[known >> np.uint64(64 - TABLE_BITS)] = True
    return table


def _code_pieces(text: str) -> Hashes:
    """Hashes of pieces of 40 bytes, end to end; one that falls anywhere in a program is found there."""
    data = "".join(text.split()).encode("utf-8", "surrogatepass")
    pieces = windows(text, CODE_BYTES, CODE_BYTES)
    telling = [
        sum(chr(byte).isalpha() for byte in data[i * CODE_BYTES : (i + 1) * CODE_BYTES]) >= MIN_CODE_LETTERS
        for i in range(len(pieces))
    ]
    return pieces[np.array(telling, np.bool_)]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
