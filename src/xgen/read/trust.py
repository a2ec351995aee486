"""How far a span can be trusted: one score that ranks candidates, decides "not in this document", and is
given with the measured share of right answers among answers with such a score.

The score is a logistic function of a few signals of a candidate, fitted on development questions with
and without an answer in the document (bench/calibrate.py writes calibration.json).
"""

import json
import math
from bisect import bisect_right
from dataclasses import astuple, dataclass
from functools import cache
from importlib import resources
from typing import Any

UNMEASURED = "qwen-0.5b"
"""The model whose weights judge those that were not measured themselves."""


@dataclass(frozen=True)
class Signals:
    """What is known of a candidate span before anybody says whether it is right.

    `span`: log-probability (nats) of writing and closing it; `tokens`: its length. `sentence` and
    `near`: the share of the question's words that stand beside it in its sentence and within 60
    characters, rare words weighing more, 0 to 1. `echo`: the share of its own words that the question holds.
    `question`: mean log-probability of a token of the question given the passage (Sachan et al. 2022
    rank passages by it). `passage`: the passage's BM25 score over the best one's. `words`: the share
    of the question's words that stand in the passage. `absent`: log-probability of the reply "not in
    the document".
    """

    span: float
    tokens: float
    sentence: float
    near: float
    echo: float
    question: float
    passage: float
    words: float
    absent: float


@dataclass(frozen=True)
class Judgement:
    """Whether a score means "found", and the measured share of right answers at such scores, if any.

    `right_share` is that of spans. `agreed_share` and `apart_share` are those of the model's own replies that
    hold the span and that do not; where only spans were measured, the spans' and none. `overrules`: at such a
    score the span is more often right than not where the model itself declines to answer the question.
    """

    found: bool
    right_share: float | None
    overrules: bool = False
    agreed_share: float | None = None
    apart_share: float | None = None


def n_beams(model: str, way: str) -> int:
    """How many beams the weights were fitted for: what read best on development questions."""
    return int(_entry(model, way)["beams"])


def score(model: str, way: str, signals: Signals) -> float:
    """0 to 1, rising with the chance that the span is right; `way` is "select" or "whole".

    The head or tail of a document is weighed as a whole one is. What a value means, `judge` says.
    """
    entry = _entry(model, way)
    total = entry["bias"] + math.fsum(
        weight * value for weight, value in zip(entry["weights"], astuple(signals), strict=True)
    )
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


def judge(model: str, way: str, value: float, language: str | None) -> Judgement:
    """What a score means for a model, about a document in `language` (ISO 639-1; None: not known).

    No share is claimed for a model or a language that was not measured, nor where no question
    without an answer was among those measured: such shares would be too high. There the model's word stands.
    """
    entry = _entry(model, way)
    measured = entry["measured"]
    languages = {row.split()[0] for row in measured["f1"]}
    counts = model in _calibration() and measured["absent_questions"] > 0 and language in languages
    share = _share(entry, value) if counts else None
    overrules = share is not None and value >= entry["overrules"]
    replies = entry.get("replies", {}) if counts else {}
    agreed = _share(replies["agreed"], value) if "agreed" in replies else share
    apart = _share(replies["apart"], value) if "apart" in replies else None
    return Judgement(value >= entry["threshold"], share, overrules, agreed, apart)


def _share(bands: dict[str, Any], value: float) -> float:
    """The share of right answers in the band of a score."""
    share: float = bands["right"][bisect_right(bands["edges"], value)]
    return share


def _entry(model: str, way: str) -> dict[str, Any]:
    table = _calibration()
    entry: dict[str, Any] = table.get(model, table[UNMEASURED])[way]
    return entry


@cache
def _calibration() -> dict[str, dict[str, Any]]:
    text = resources.files("xgen.read").joinpath("calibration.json").read_text("utf-8")
    models: dict[str, dict[str, Any]] = json.loads(text)["models"]
    return models
