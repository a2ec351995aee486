"""The evidence check: is this quotation in the document, and what in the document bears this sentence out?

Three questions, all answered by code and none by the model: `find_quote` (verbatim, or one contiguous near
match), `support` (the sentence of the document a generated sentence rests on) and `strangers` (numbers,
dates and names that the document does not know, see read/strangers.py).
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz

from xgen.read.fold import Folded, fold
from xgen.read.strangers import strangers
from xgen.read.words import unspaced, words
from xgen.text.sentences import sentence_spans

__all__ = ["Match", "find_quote", "strangers", "support"]

MIN_QUOTE_CHARACTERS = 12
MIN_QUOTE_CHARACTERS_CJK = 6  # a character of Chinese, Japanese or Korean says about as much as two letters
# Of 100 (indel similarity). At 90 a quotation of 100 characters may differ in twenty insertions and deletions
# together, two words replaced; hence the further condition that no number differs.
MIN_NEAR_SCORE = 90.0
# Of 100. On development documents (OneStopQA's elementary sentences against ten advanced articles at once):
# 8% of the sentences that are borne out are missed, 0.2% of those of other articles get through.
MIN_SUPPORT_SCORE = 55.0
_N_CANDIDATES = 12  # sentences of the best overlap, whose wording is then compared
_RARITY_FLOOR = 50  # sentences; a shorter document says too little about which words are rare

_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_NUMBER = re.compile(r"\d+")

_folded = lru_cache(maxsize=8)(fold)  # the same few documents are asked about again and again


@dataclass(frozen=True)
class Match:
    """`text[start:end]` is what stands in the document; `score` (0 to 100) is how near that is to the wanted.

    Of a quotation 100 means: the same, white space, quotation marks, hyphens and the like aside.
    """

    start: int
    end: int
    score: float


def find_quote(text: str, quote: str) -> Match | None:
    """Where `quote` stands in `text`: its first exact place, else one contiguous near match, else None.

    Both are compared folded (white space, quotation marks, hyphens, ligatures, widths; not case). A match
    begins and ends at word borders. A near match scores at least `MIN_NEAR_SCORE` and holds the same numbers.
    Quotations of fewer than 12 characters (6 in Chinese, Japanese and Korean) are too short to prove anything
    and give None.
    """
    document = _folded(text)
    as_given = fold(quote).text.strip(" -")
    unquoted = as_given.strip(" \"'-")
    if len(unquoted) < _min_characters(unquoted) or len(unquoted) > len(document.text):
        return None
    return _exact(document, as_given) or _exact(document, unquoted) or _near(document, unquoted)


def _exact(document: Folded, wanted: str) -> Match | None:
    at = document.text.find(wanted)
    while at >= 0:
        if not (_cuts_word(document, at) or _cuts_word(document, at + len(wanted))):
            return Match(document.starts[at], document.ends[at + len(wanted) - 1], 100.0)
        at = document.text.find(wanted, at + 1)
    return None


def _near(document: Folded, wanted: str) -> Match | None:
    window = fuzz.partial_ratio_alignment(wanted, document.text, score_cutoff=MIN_NEAR_SCORE)
    if window is None:
        return None
    best: tuple[float, int, int] = (0.0, 0, 0)
    for start in _word_borders(document, window.dest_start):
        for end in _word_borders(document, window.dest_end):
            best = max(best, (fuzz.ratio(wanted, document.text[start:end]), start, end))
    score, start, end = best
    if score < MIN_NEAR_SCORE or _NUMBER.findall(wanted) != _NUMBER.findall(document.text[start:end]):
        return None
    start += document.text[start] == " "
    end -= document.text[end - 1] == " "
    return Match(document.starts[start], document.ends[end - 1], score)


def _min_characters(folded_quote: str) -> int:
    n_cjk = len(_CJK.findall(folded_quote))
    return MIN_QUOTE_CHARACTERS_CJK if 2 * n_cjk > len(folded_quote) else MIN_QUOTE_CHARACTERS


def _cuts_word(document: Folded, at: int) -> bool:
    """Whether the border before folded character `at` falls inside a word or one original character."""
    if not 0 < at < len(document.text):
        return False
    if document.ends[at - 1] > document.starts[at]:
        return True  # both come from one ligature
    if document.ends[at - 1] < document.starts[at]:
        return False  # something was folded away here: a hyphen
    before, after = document.text[at - 1], document.text[at]
    return before.isalnum() and after.isalnum() and not unspaced(before + after)


def _word_borders(document: Folded, at: int) -> tuple[int, int]:
    """The nearest word borders at or before, and at or after, the folded position `at`."""
    left = right = at
    while _cuts_word(document, left):
        left -= 1
    while _cuts_word(document, right):
        right += 1
    return left, right


def support(text: str, sentence: str) -> Match | None:
    """The sentence of `text` that bears out the generated `sentence` best, or None if none does well enough.

    The score is the share of the sentence's words that stand in the candidate, each weighted by its rarity in
    the document (inverse document frequency over sentences; a word the document lacks weighs most), averaged
    with the likeness of the wording (`fuzz.token_set_ratio`). It is about words: a true sentence
    in quite other words is not found, and a false one in the document's words is.
    """
    document = _evidence(text)
    wording = fold(sentence).text
    asked = set(words(wording))
    weight = {word: document.rarity(word) for word in asked}
    total = sum(weight.values())
    if not total:
        return None
    shared: defaultdict[int, float] = defaultdict(float)
    for word in asked:
        for i in document.where.get(word, ()):
            shared[i] += weight[word]
    best: Match | None = None
    for i in sorted(shared, key=lambda i: (-shared[i], i))[:_N_CANDIDATES]:
        start, end = document.spans[i]
        likeness = fuzz.token_set_ratio(wording.casefold(), fold(text[start:end]).text.casefold())
        score = (100 * shared[i] / total + likeness) / 2
        if best is None or score > best.score:
            best = Match(start, end, score)
    return best if best and best.score >= MIN_SUPPORT_SCORE else None


@dataclass(frozen=True)
class _Evidence:
    """A document's sentences, and for each word the sentences that hold it."""

    spans: Sequence[tuple[int, int]]
    where: dict[str, list[int]]

    def rarity(self, word: str) -> float:
        n_sentences = max(len(self.spans), _RARITY_FLOOR)
        return math.log(1 + n_sentences / (1 + len(self.where.get(word, ()))))


@lru_cache(maxsize=8)
def _evidence(text: str) -> _Evidence:
    spans = sentence_spans(text)
    where: dict[str, list[int]] = {}
    for i, (start, end) in enumerate(spans):
        for word in set(words(fold(text[start:end]).text)):
            where.setdefault(word, []).append(i)
    return _Evidence(spans, where)
