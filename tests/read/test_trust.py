import json
import math
from dataclasses import astuple, fields, replace
from importlib import resources
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.cards import CARDS
from xgen.read import trust
from xgen.read.ask import MOST_BEAMS
from xgen.read.trust import Signals, judge, score

TABLE: dict[str, Any] = json.loads(
    resources.files("xgen.read").joinpath("calibration.json").read_text("utf-8")
)["models"]
PLACES = [(model, way) for model in TABLE for way in ("select", "whole")]
NAMES = [field.name for field in fields(Signals)]
SHARES = st.floats(0, 1)
SIGNALS = st.builds(
    Signals,
    span=st.floats(-60, 0),
    tokens=st.integers(1, 24).map(float),
    question=st.floats(-12, 0),
    absent=st.floats(-30, 0),
    **dict.fromkeys(("sentence", "near", "echo", "passage", "words"), SHARES),
)


@pytest.mark.parametrize(("model", "way"), PLACES)
def test_the_calibration_is_well_formed(model: str, way: str) -> None:
    entry = TABLE[model][way]
    assert model in CARDS
    assert len(entry["weights"]) == len(NAMES)
    assert all(map(math.isfinite, [*entry["weights"], entry["bias"]]))
    assert 0 <= entry["threshold"] <= 1
    assert 0 <= entry["overrules"] <= 1
    assert 1 <= entry["beams"] <= MOST_BEAMS
    for found in (entry, *entry.get("replies", {}).values()):
        assert all(a < b for a, b in pairwise([0.0, *found["edges"], 1.0]))
        assert len(found["right"]) == len(found["edges"]) + 1
        assert all(0 <= share <= 1 for share in found["right"])
    if entry.get("replies"):
        assert max(entry["replies"]["apart"]["right"]) < max(entry["replies"]["agreed"]["right"])


def test_what_judges_the_unmeasured_was_measured() -> None:
    assert trust.UNMEASURED in TABLE


@pytest.mark.parametrize(("model", "way"), PLACES)
@given(signals=SIGNALS, name=st.sampled_from(NAMES), more=st.floats(0, 5))
def test_law_a_score_follows_its_weights(
    model: str, way: str, signals: Signals, name: str, more: float
) -> None:
    weight = TABLE[model][way]["weights"][NAMES.index(name)]
    before = score(model, way, signals)
    after = score(model, way, replace(signals, **{name: getattr(signals, name) + more}))
    assert 0 < before < 1
    assert (after - before) * weight >= -1e-12


def test_a_score_is_the_logistic_function_of_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"weights": [1.0, *[0.0] * 7, 2.0], "bias": 0.5, "threshold": 0.4, "edges": [], "right": [0.5]}
    monkeypatch.setattr(trust, "_calibration", lambda: {trust.UNMEASURED: {"whole": entry}})
    signals = Signals(-1.0, *[9.0] * 7, 0.75)
    assert astuple(signals)[-1] == signals.absent
    assert score(trust.UNMEASURED, "whole", signals) == pytest.approx(1 / (1 + math.exp(-(-1 + 1.5 + 0.5))))


MEASURED = {"absent_questions": 9, "f1": {"en alone": 0.5, "de hidden8k": 0.4}}


def test_bands_and_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    entry: dict[str, Any] = {
        "weights": [],
        "bias": 0.0,
        "threshold": 0.3,
        "overrules": 0.59,
        "edges": [0.2, 0.6],
        "right": [0.1, 0.5, 0.9],
    }
    entry["measured"] = MEASURED
    monkeypatch.setattr(trust, "_calibration", lambda: {trust.UNMEASURED: {"select": entry}})
    judged = [
        judge(trust.UNMEASURED, "select", value, "en") for value in (0.0, 0.19, 0.2, 0.3, 0.59, 0.6, 1.0)
    ]
    assert [each.right_share for each in judged] == [0.1, 0.1, 0.5, 0.5, 0.5, 0.9, 0.9]
    assert [each.found for each in judged] == [False, False, False, True, True, True, True]
    assert [each.overrules for each in judged] == [False, False, False, False, True, True, True]
    assert [each.agreed_share for each in judged] == [each.right_share for each in judged]
    assert {each.apart_share for each in judged} == {None}
    entry["replies"] = {
        "agreed": {"edges": [], "right": [0.8]},
        "apart": {"edges": [0.5], "right": [0.2, 0.4]},
    }
    judged = [judge(trust.UNMEASURED, "select", value, "en") for value in (0.3, 0.5)]
    assert [(each.agreed_share, each.apart_share) for each in judged] == [(0.8, 0.2), (0.8, 0.4)]


def test_no_share_is_claimed_for_what_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    entry: dict[str, Any] = {"threshold": 0.3, "overrules": 0.4, "edges": [], "right": [0.5]}
    entry["measured"] = MEASURED
    without_absent = {**entry, "measured": {**MEASURED, "absent_questions": 0}}
    table = {trust.UNMEASURED: {"select": entry, "whole": without_absent}}
    monkeypatch.setattr(trust, "_calibration", lambda: table)
    for language, claimed in (("en", 0.5), ("de", 0.5), ("fr", None), (None, None)):
        judged = trust.Judgement(True, claimed, claimed is not None, agreed_share=claimed)
        assert judge(trust.UNMEASURED, "select", 0.4, language) == judged
    assert judge(trust.UNMEASURED, "whole", 0.4, "en") == trust.Judgement(True, None)
    assert judge("somebody's folder", "select", 0.2, "en") == trust.Judgement(False, None)
