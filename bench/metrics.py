"""How an answer is scored: exact match, F1, "holds the gold", sets of names, and 95% intervals.

English follows the scoring of SQuAD (Rajpurkar et al. 2016, section 6.1; the rule for empty
answers is that of SQuAD 2.0): lower case, ASCII punctuation out, the articles a, an, the out, white
space joined. In other languages every Unicode punctuation mark goes as well, as MLQA does (Lewis et
al. 2020, section 4.1), but no articles of their own, as in the published figures of XQuAD. Chinese
and Japanese, which put no spaces between words, are compared by characters.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

BY_CHARACTERS = frozenset({"zh", "ja"})
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def units(text: str, lang: str = "en") -> list[str]:
    """The normalised words of `text` (characters in zh and ja), the units that F1 counts."""
    kept = "".join(c for c in text.lower() if not _is_punctuation(c, lang))
    words = _ARTICLES.sub(" ", kept).split()
    return list("".join(words)) if lang in BY_CHARACTERS else words


def _is_punctuation(character: str, lang: str) -> bool:
    if character in string.punctuation:
        return True
    return lang != "en" and unicodedata.category(character).startswith("P")


@dataclass(frozen=True)
class Score:
    """One answer against the best of its gold answers; each between 0 and 1."""

    exact: float
    f1: float
    holds: float


NOTHING = Score(0.0, 0.0, 0.0)


def score(answer: str | None, golds: Sequence[str], lang: str = "en") -> Score:
    """Score `answer` against each gold answer and keep the best of each measure.

    No answer (None) scores nothing. `holds` is 1 where the gold answer's units stand in the answer
    in one run: "12" is not held by "1912".
    """
    if answer is None:
        return NOTHING
    given = units(answer, lang)
    wanted = [units(gold, lang) for gold in golds]
    return Score(
        exact=float(any(given == gold for gold in wanted)),
        f1=max((f1(given, gold) for gold in wanted), default=0.0),
        holds=float(any(_stands_in(gold, given) for gold in wanted)),
    )


def f1(given: Sequence[str], wanted: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over two bags of units; of two empty bags 1."""
    if not given or not wanted:
        return float(list(given) == list(wanted))
    shared = (Counter(given) & Counter(wanted)).total()
    return 2 * shared / (len(given) + len(wanted))


def _stands_in(run: Sequence[str], units_: Sequence[str]) -> bool:
    if not run:
        return not units_
    return any(list(units_[i : i + len(run)]) == list(run) for i in range(len(units_) - len(run) + 1))


def set_f1(given: Collection[str], wanted: Collection[str]) -> float:
    """F1 over two sets of names; of two empty sets 1."""
    return f1(sorted(set(given)), sorted(set(wanted)))


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its 95% interval; NaN where there is no question."""

    mean: float
    low: float
    high: float


def estimate(
    values: Sequence[float], documents: Sequence[str], n_resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Mean of `values` and its 95% percentile bootstrap interval, resampled by document.

    `documents[i]` names the document of question i. Questions on one document are answered alike,
    so whole documents are drawn, each with all its questions (the cluster bootstrap: Davison and
    Hinkley 1997, section 3.8). With one document the interval is no wider than the mean: read
    nothing into it.
    """
    if len(values) != len(documents):
        raise ValueError(f"{len(values)} values for {len(documents)} documents")
    if not values:
        return Estimate(float("nan"), float("nan"), float("nan"))
    names = sorted(set(documents))
    row = {name: i for i, name in enumerate(names)}
    total, count = np.zeros(len(names)), np.zeros(len(names))
    for value, name in zip(values, documents, strict=True):
        total[row[name]] += value
        count[row[name]] += 1
    drawn = np.random.default_rng(seed).integers(len(names), size=(n_resamples, len(names)))
    means = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(total.sum() / count.sum()), float(low), float(high))
