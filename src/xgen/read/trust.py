"""How far an answer can be trusted: the measured share of right answers among answers with such a score.

The score is a logistic function of a few signals, fitted on development questions, answerable and
unanswerable ones (bench/calibrate.py). It ranks candidates, decides "not in this document" by a
threshold, and its bands carry the share of right answers that was measured in each.
"""

import json
import math
from dataclasses import astuple, dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Signals:
    """What is known of a span before anybody says whether it is right; log-probabilities in nats.

    `span` and `second`: of the best and the next different span, closing included. `absent`: of the
    reply "not in the document". `question`: of the question's tokens given the passage, a token's mean
    (Sachan et al. 2022 rank passages by it). `words`: the share of the question's words that the
    passage holds, the rare ones weighing more, 0 to 1.
    """

    span: float
    second: float
    absent: float
    question: float
    words: float


@dataclass(frozen=True)
class Judgement:
    """`score` 0 to 1 orders answers; `right_share` is the measured share of right ones at such scores."""

    score: float
    found: bool
    right_share: float | None


def judge(model: str, how: str, signals: Signals | None) -> Judgement:
    """Judge the best span by the calibration of a model and a way of reading.

    Models that were not measured are judged by qwen-0.5b's weights, with no share claimed. No span at
    all is never found.
    """
    if signals is None:
        return Judgement(0.0, False, None)
    table = _calibration()
    measured = table.get(model, {}).get(how)
    entry = measured or table["qwen-0.5b"][how]
    score = _logistic(entry, signals)
    share = None
    if measured is not None:
        edges = measured["edges"]
        band = sum(score >= edge for edge in edges[1:-1])
        share = measured["right"][band]
    return Judgement(round(score, 4), score >= entry["threshold"], share)


def _logistic(entry: dict[str, Any], signals: Signals) -> float:
    total = entry["bias"] + math.fsum(
        weight * value for weight, value in zip(entry["weights"], astuple(signals), strict=True)
    )
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


def weight(model: str, how: str, signals: Signals) -> float:
    """The score of a span before rounding, to choose among passages."""
    table = _calibration()
    return _logistic(table.get(model, table["qwen-0.5b"])[how], signals)


@cache
def _calibration() -> dict[str, dict[str, dict[str, Any]]]:
    text = resources.files("xgen.read").joinpath("calibration.json").read_text("utf-8")
    table: dict[str, dict[str, dict[str, Any]]] = json.loads(text)["models"]
    for ways in table.values():
        for entry in ways.values():
            if any(a >= b for a, b in pairwise(entry["edges"])):
                raise ValueError("calibration.json: edges must rise")
    return table
