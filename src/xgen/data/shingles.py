"""Texts as numbers: a hash for each word and for each run of n words, the same on every machine.

A hash of bytes b is sum(b[i] * P**i) mod 2^64, taken from running sums, so that numpy does all words of a
text at once (Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987), and then mixed by
the finalizer of MurmurHash3. Case, punctuation and white space do not count. A character of Chinese or
Japanese is a word.
"""

import re

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

UNSPACED = frozenset({"ja", "zh"})  # languages written without spaces
_WIDE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_WIDE}]|[^\W_{_WIDE}]+")
_POWER = 0x100000001B3 | 1
_INVERSE = pow(_POWER, -1, 1 << 64)
_BLOCK_BYTES = 1 << 16
_SPACE = 0x20


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; each wide character is one."""
    return _WORD.findall(text.lower())


def word_hashes(words: list[str]) -> Hashes:
    """A hash for each word, uint64 [n_words]."""
    data = np.frombuffer((" ".join(words) + " ").encode("utf-8", "surrogatepass"), np.uint8)
    if not words:
        return np.zeros(0, np.uint64)
    ends = np.flatnonzero(data == _SPACE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    return _spans(data, starts, ends)


def ngrams(hashes: Hashes, n: int) -> Hashes:
    """A hash for each run of `n` words, uint64 [max(n_words - n + 1, 0)]."""
    count = len(hashes) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    total = np.zeros(count, np.uint64)
    for i in range(n):
        total = total * np.uint64(_POWER) + hashes[i : i + count]
    return _mixed(total)


def windows(text: str, size: int, stride: int = 1) -> Hashes:
    """A hash for every `size` bytes of a text whose white space is taken out, at each `stride` bytes."""
    data = np.frombuffer("".join(text.split()).encode("utf-8", "surrogatepass"), np.uint8)
    starts = np.arange(0, len(data) - size + 1, stride)
    return _spans(data, starts, starts + size)


def _spans(data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Hashes:
    """Hashes of data[starts[i]:ends[i]]."""
    powers = _powers(len(data) + 1, _POWER)
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum((data.astype(np.uint64) + np.uint64(1)) * powers[:-1], out=sums[1:])
    inverses = _powers(len(data) + 1, _INVERSE)
    return _mixed((sums[ends] - sums[starts]) * inverses[starts] + (ends - starts).astype(np.uint64))


_KEPT_POWERS: dict[int, Hashes] = {}


def _powers(count: int, of: int) -> Hashes:
    """of**0, of**1, ... mod 2^64; the longest table made so far is kept."""
    kept = _KEPT_POWERS.get(of)
    if kept is None or len(kept) < count:
        size = max(_BLOCK_BYTES, 1 << (count - 1).bit_length())
        factors = np.full(size, of, np.uint64)
        factors[0] = 1
        kept = _KEPT_POWERS[of] = np.cumprod(factors, dtype=np.uint64)
    return kept[:count]


def _mixed(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return hashes ^ (hashes >> np.uint64(33))
