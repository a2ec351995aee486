"""Exact and near duplicates: MinHash (library datasketch) over runs of five words, banded.

Near duplicates are documents whose MinHash signatures agree in at least 80% of places (Broder 1997, "On the
resemblance and containment of documents"); the bands of Leskovec, Rajaraman and Ullman, "Mining of Massive
Datasets", section 3.4, find the pairs to compare. All bands of a corpus are sorted at once in numpy: the
library's index, a Python dictionary a band, takes minutes where this takes seconds. What stays of a group
does not depend on the order in which its documents came.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgen.data.shingles import Hashes, ngrams

N_PERMUTATIONS = 64
SHINGLE_WORDS = 5
WIDE_SHINGLE_WORDS = 10  # characters, where they are words
N_BANDS = 16
MIN_AGREEMENT = 0.8
_BLOCK = 1024  # shingles at once: what numpy needs for them stays in the processor's cache

Signature = NDArray[np.uint32]


def exact_key(words: list[str]) -> bytes:
    """16 bytes that documents with the same words share: SHA-256, cut."""
    return hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).digest()[:16]


def signature(hashes: Hashes, shingle_words: int = SHINGLE_WORDS) -> Signature:
    """MinHash of the set of runs of `shingle_words` words: uint32 [64]. Shorter texts are one run."""
    from datasketch import MinHash

    shingles = ngrams(hashes, min(shingle_words, max(len(hashes), 1)))
    values = (shingles >> np.uint64(32)).astype(np.uint32)
    sketch = MinHash(num_perm=N_PERMUTATIONS, hashfunc=int, permutations=_permutations(), scheme="affine32")
    for start in range(0, len(values), _BLOCK):
        sketch.update_batch(values[start : start + _BLOCK].tolist())
    return np.asarray(sketch.hashvalues, np.uint32)


def near_duplicates(
    signatures: NDArray[np.uint32], n_bands: int = N_BANDS, min_agreement: float = MIN_AGREEMENT
) -> NDArray[np.int64]:
    """The group of each of [n, 64] signatures: int64 [n], the smallest index of its near duplicates.

    Groups are connected: two documents that are each near a third are in one.
    """
    groups = np.arange(len(signatures))
    if not len(signatures):
        return groups
    least = int(np.ceil(min_agreement * signatures.shape[1]))
    for band in np.split(signatures, n_bands, axis=1):
        keys = np.ascontiguousarray(band).view([("", band.dtype)] * band.shape[1])[:, 0]
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        left, right = order[:-1][same], order[1:][same]
        near = (signatures[left] == signatures[right]).sum(axis=1) >= least
        for one, other in zip(left[near].tolist(), right[near].tolist(), strict=True):
            _join(groups, one, other)
    return np.array([_root(groups, i) for i in range(len(groups))], np.int64)


def extra_copies(
    groups: NDArray[np.int64], sizes: NDArray[np.int64], ranks: Sequence[bytes]
) -> NDArray[np.bool_]:
    """Which documents go: of each group the longest stays, of equally long ones that of the least rank."""
    extra = np.zeros(len(groups), np.bool_)
    best: dict[int, int] = {}
    for i, group in enumerate(groups.tolist()):
        holder = best.setdefault(group, i)
        if holder == i:
            continue
        better = (-int(sizes[i]), ranks[i]) < (-int(sizes[holder]), ranks[holder])
        extra[holder if better else i] = True
        best[group] = i if better else holder
    return extra


def _root(groups: NDArray[np.int64], i: int) -> int:
    while groups[i] != i:
        groups[i] = groups[groups[i]]
        i = int(groups[i])
    return i


def _join(groups: NDArray[np.int64], one: int, other: int) -> None:
    one, other = _root(groups, one), _root(groups, other)
    groups[max(one, other)] = min(one, other)


@cache
def _permutations() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=N_PERMUTATIONS, scheme="affine32").permutations
