import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.dedup import N_PERMUTATIONS, exact_key, extra_copies, near_duplicates, signature
from xgen.data.shingles import word_hashes


def text(seed: int, n_words: int = 400) -> list[str]:
    chance = random.Random(seed)
    return [f"w{chance.randrange(3000)}" for _ in range(n_words)]


def changed(words: list[str], n_changes: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    words = list(words)
    for place in chance.sample(range(len(words)), n_changes):
        words[place] = f"new{chance.randrange(10**6)}"
    return words


def jaccard(one: list[str], other: list[str], n: int = 5) -> float:
    """By the definition: shared runs of n words over all of them."""
    a, b = ({tuple(words[i : i + n]) for i in range(len(words) - n + 1)} for words in (one, other))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("n_changes", [0, 2, 8, 30, 100])
def test_against_brute_force_signatures_agree_as_sets_do(n_changes: int) -> None:
    errors = []
    for seed in range(12):
        one = text(seed)
        other = changed(one, n_changes, seed)
        agreement = (signature(word_hashes(one)) == signature(word_hashes(other))).mean()
        errors.append(agreement - jaccard(one, other))
    assert abs(np.mean(errors)) < 0.06
    assert np.max(np.abs(errors)) < 4 * (0.25 / N_PERMUTATIONS) ** 0.5


def test_against_datasketch_the_library_builds_the_same_signature() -> None:
    from datasketch import MinHash

    from xgen.data.shingles import ngrams

    hashes = word_hashes(text(1, 3000))
    values = (ngrams(hashes, 5) >> np.uint64(32)).tolist()
    sketch = MinHash(num_perm=N_PERMUTATIONS, hashfunc=int, scheme="affine32")
    sketch.update_batch(values)
    assert (signature(hashes) == sketch.hashvalues).all()


def test_against_brute_force_near_duplicates_are_found() -> None:
    originals = [text(seed) for seed in range(40)]
    copies = [changed(words, 4, seed) for seed, words in enumerate(originals[:20])]  # 0.9 alike
    cousins = [changed(words, 120, seed) for seed, words in enumerate(originals[20:])]  # 0.1 alike
    signatures = np.stack([signature(word_hashes(words)) for words in originals + copies + cousins])
    groups = near_duplicates(signatures)
    assert groups[40:60].tolist() == list(range(20))
    assert groups[60:].tolist() == list(range(60, 80))


def test_short_texts_are_compared_as_a_whole() -> None:
    same = [signature(word_hashes(words)) for words in (["a", "b"], ["a", "b"], ["a", "c"], [])]
    assert near_duplicates(np.stack(same)).tolist() == [0, 0, 2, 3]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_law_what_stays_does_not_depend_on_the_order(kinds: list[int], chance: random.Random) -> None:
    documents = [(kind, chance.randrange(4), bytes([i])) for i, kind in enumerate(kinds)]

    def stays(ordered: list[tuple[int, int, bytes]]) -> set[bytes]:
        groups = np.array([kind for kind, _, _ in ordered])
        sizes = np.array([size for _, size, _ in ordered])
        extra = extra_copies(groups, sizes, [rank for *_, rank in ordered])
        return {rank for (*_, rank), is_extra in zip(ordered, extra, strict=True) if not is_extra}

    kept = stays(documents)
    assert kept == stays(chance.sample(documents, len(documents)))
    assert len(kept) == len(set(kinds))
    assert all(
        max(size for other, size, _ in documents if other == kind) == size
        for kind, size, rank in documents
        if rank in kept
    )


def test_exact_keys_do_not_see_what_words_do_not() -> None:
    assert exact_key(["a", "b"]) == exact_key(["a", "b"]) != exact_key(["ab"])
