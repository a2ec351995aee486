"""The quality and repetition rules of Gopher (Rae et al. 2021, appendix A.1.1).

https://arxiv.org/abs/2112.11446. Defaults are the paper's; where a text has no spaces, characters stand for
words and runs are twice as long. Repetition is looked for in the first `max_words` words
and `max_lines` lines: a book repeats itself more than a page, whatever it is like.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgen.data.filters.prose import Prose
from xgen.data.filters.stop_words import STOP_WORDS
from xgen.data.shingles import ngrams

_BULLETS = ("•", "‣", "▪", "●", "·", "*", "-", "–")
_ELLIPSES = ("...", "…")


def quality_fault(
    prose: Prose,
    min_words: int = 50,
    max_words: int = 100_000,
    mean_word_length: tuple[float, float] = (3, 10),
    max_symbols: float = 0.1,
    max_bullet_lines: float = 0.9,
    max_ellipsis_lines: float = 0.3,
    min_alphabetic_words: float = 0.8,
    min_stop_words: int = 2,
) -> str | None:
    """The first rule of quality that the text breaks, or None. Shares are of words or of lines."""
    n_words = len(prose.words)
    if n_words < min_words:
        return "too_few_words"
    if n_words > max_words:
        return "too_many_words"
    stop_words = STOP_WORDS.get(prose.language)
    if stop_words and len(stop_words.intersection(prose.words)) < min_stop_words:
        return "too_few_stop_words"
    if prose.spaced:
        mean = sum(map(len, prose.raw_words)) / max(len(prose.raw_words), 1)
        if not mean_word_length[0] <= mean <= mean_word_length[1]:
            return "words_too_short" if mean < mean_word_length[0] else "words_too_long"
        least = min_alphabetic_words * len(prose.raw_words)
        # The quick count misses words with a digit or a mark in them; nearly always it suffices.
        if sum(map(str.isalpha, prose.words)) < least and sum(map(_has_letter, prose.raw_words)) < least:
            return "too_few_words_with_letters"
    n_symbols = prose.text.count("#") + prose.text.count("...") + prose.text.count("…")
    if n_symbols > max_symbols * n_words:
        return "too_many_symbols"
    lines = prose.lines
    if sum(line.startswith(_BULLETS) for line in lines) > max_bullet_lines * len(lines):
        return "too_many_bullet_lines"
    if sum(line.endswith(_ELLIPSES) for line in lines) > max_ellipsis_lines * len(lines):
        return "too_many_lines_end_in_dots"
    return None


def repetition_fault(
    prose: Prose,
    max_duplicate_lines: float = 0.3,
    max_duplicate_line_characters: float = 0.2,
    min_line_characters: int = 1,
    max_top: Sequence[tuple[int, float]] = ((2, 0.2), (3, 0.18), (4, 0.16)),
    max_duplicate: Sequence[tuple[int, float]] = ((5, 0.15), (7, 0.13), (10, 0.1)),
    max_words: int = 20_000,
    max_lines: int = 2_000,
) -> str | None:
    """The first rule of repetition that the text breaks, or None. Shares are of lines or of characters.

    `max_top`: (n, share) of the most frequent run of n words; `max_duplicate`: of all runs of n words
    that stand there more than once. Lines below `min_line_characters` do not count.
    """
    lines = [line for line in prose.lines[:max_lines] if len(line) >= min_line_characters]
    again = [line for line, count in Counter(lines).items() for _ in range(count - 1)]
    if len(again) > max_duplicate_lines * len(lines):
        return "too_many_duplicate_lines"
    if sum(map(len, again)) > max_duplicate_line_characters * sum(map(len, lines)):
        return "too_much_text_in_duplicate_lines"
    hashes = prose.hashes[:max_words]
    lengths = np.fromiter(map(len, prose.words[:max_words]), np.int64, len(hashes))
    n_characters = int(lengths.sum())
    factor = 1 if prose.spaced else 2
    for n, share in max_top:
        if _top_characters(ngrams(hashes, n * factor), lengths, n * factor) > share * n_characters:
            return "one_phrase_over_and_over"
    for n, share in max_duplicate:
        if _duplicate_characters(ngrams(hashes, n * factor), lengths, n * factor) > share * n_characters:
            return "too_many_duplicate_phrases"
    return None


def _top_characters(grams: NDArray[np.uint64], lengths: NDArray[np.int64], n: int) -> int:
    """Characters in the most frequent run; 0 if none stands there twice."""
    if not len(grams):
        return 0
    _, first, counts = np.unique(grams, return_index=True, return_counts=True)
    top = int(counts.argmax())
    if counts[top] < 2:
        return 0
    return int(counts[top]) * int(lengths[first[top] : first[top] + n].sum())


def _duplicate_characters(grams: NDArray[np.uint64], lengths: NDArray[np.int64], n: int) -> int:
    """Characters of words covered by a run that stood there before."""
    if not len(grams):
        return 0
    order = np.argsort(grams, kind="stable")
    same: NDArray[Any] = grams[order][1:] == grams[order][:-1]
    covered = np.zeros(len(lengths) + 1, np.int64)
    again = order[1:][same]  # stable: the first of equals is not among them
    np.add.at(covered, again, 1)
    np.add.at(covered, again + n, -1)
    return int(lengths[np.cumsum(covered)[:-1] > 0].sum())


def _has_letter(word: str) -> bool:
    return word.isalpha() or any(map(str.isalpha, word))
