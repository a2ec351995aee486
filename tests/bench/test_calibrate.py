import dataclasses
import itertools
import json

import calibrate
import numpy as np
import pytest
from calibrate import Asked, Best, bands, best, held_out, load_signals, regress
from hypothesis import given
from hypothesis import strategies as st

from xgen.read.trust import Signals

N = len(Signals.__dataclass_fields__)


def made(n_questions: int, seed: int = 0) -> list[Asked]:
    """Questions whose candidates' F1 follows the first signal alone; every fourth has no answer."""
    random = np.random.default_rng(seed)
    asked = []
    for index in range(n_questions):
        signals = random.normal(size=(6, N))
        answerable = index % 4 != 0
        f1 = 1 / (1 + np.exp(-3 * signals[:, 0])) if answerable else np.zeros(6)
        asked.append(Asked(f"d{index // 2}", "en alone", 5, answerable, signals, f1))
    return asked


def test_regression_finds_the_signal_that_matters():
    weights, _ = regress([a for a in made(300) if a.answerable])
    assert weights[0] > 1.5
    assert np.abs(weights[1:]).max() < 0.3


def test_law_a_question_is_never_scored_by_weights_that_saw_its_document(monkeypatch: pytest.MonkeyPatch):
    asked, seen = made(40), []

    def spy(training):
        seen.append({a.document for a in training})
        return np.zeros(N), 0.0

    monkeypatch.setattr(calibrate, "regress", spy)
    scored = held_out(asked)
    assert len(scored) == len(asked)
    assert len(seen) == calibrate.N_FOLDS
    everything = {a.document for a in asked}
    left_out = [everything - each for each in seen]
    assert set.union(*left_out) == everything
    assert sum(map(len, left_out)) == len(everything)


def test_the_best_candidate_and_none():
    [asked] = made(1)
    weights = np.eye(N)[0]
    value, f1, agrees = best(asked, weights, 0.0)
    top = int(asked.signals[:, 0].argmax())
    assert f1 == asked.f1[top]
    assert value == pytest.approx(1 / (1 + np.exp(-asked.signals[top, 0])))
    assert not agrees, "nothing is known of a reply"
    told = dataclasses.replace(asked, reply_f1=0.5, held=[index == top for index in range(6)])
    assert best(told, weights, 0.0).agrees
    assert best(Asked("d", "r", 5, False, np.zeros((0, N)), np.zeros(0)), weights, 0.0) == (0, 0, False)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=calibrate.N_BANDS, max_size=80))
def test_law_shares_rise_with_the_score_and_count_every_question(scored):
    edges, right = bands(scored, calibrate.N_BANDS)
    assert len(right) == len(edges) + 1
    assert all(a < b for a, b in itertools.pairwise(right))
    assert edges == sorted(edges)
    overall = np.mean([f1 >= calibrate.RIGHT_F1 for _, f1 in scored])
    assert min(right) <= overall + 1e-3
    assert max(right) >= overall - 1e-3


@given(
    st.lists(st.floats(0, 1), min_size=20, max_size=60),
    st.lists(st.floats(0, 1), max_size=30),
    st.lists(st.floats(0, 1), max_size=30),
)
def test_law_no_other_threshold_tried_is_nearer_to_what_is_allowed(alone, out, beside):
    of_row = {"en alone": alone, "en out8k": out, "en beside": beside}
    asked = [
        Asked("d", row, 5, row == "en alone", np.zeros((1, N)), np.zeros(1))
        for row, scores in of_row.items()
        for _ in scores
    ]
    scores = [*alone, *out, *beside]
    found = calibrate.threshold_of(asked, scores, 1.0)

    def above(threshold):
        shares = [np.mean(np.array(alone) < threshold) - 0.01]
        shares += [np.mean(np.array(out) >= threshold) - 0.12] if out else []
        shares += [np.mean(np.array(beside) >= threshold) - 0.05] if beside else []
        return sum(max(0, share) for share in shares)

    low, high = np.quantile(alone, calibrate.FALSE_ALARMS)
    assert low <= found <= high
    for other in np.quantile(alone, np.linspace(*calibrate.FALSE_ALARMS, calibrate.N_THRESHOLDS)):
        assert above(found) <= above(other) + 1e-9


DECLINED = st.tuples(st.floats(0, 0.99), st.booleans(), st.booleans())  # score, right, declined


@given(st.lists(DECLINED, min_size=1, max_size=40, unique_by=lambda one: one[0]))
def test_law_no_other_score_overrules_with_more_gain(questions):
    asked = [Asked("d", "en alone", 5, True, np.zeros((1, N)), np.zeros(1), one[2]) for one in questions]
    found = calibrate.overrules_from(asked, [Best(value, float(right)) for value, right, _ in questions])

    def gain(least):
        return sum(2 * right - 1 for value, right, declined in questions if declined and value >= least)

    assert gain(found) == max(0, *(gain(value) for value, *_ in questions))


def test_a_question_that_the_model_declines_is_refused_unless_overruled():
    asked = [
        Asked("d", f"en {row}", 5, row == "alone", np.zeros((1, N)), np.zeros(1), declined)
        for row in ("alone", "beside")
        for declined in (True, False)
    ]
    for overrules, alone, beside in ((0.4, 0.0, 1.0), (0.6, 0.5, 0.5)):
        found = calibrate.wrong_verdicts(asked, [0.5] * 4, 0.2, overrules)
        assert found == {"alone": alone, "beside": beside}


def test_law_a_reply_counts_among_those_that_agree_or_not_and_only_if_it_is_shown():
    """Replies that hold the span are right, others wrong: their shares are 1 and 0."""
    asked, scored = [], []
    for index in range(600):
        agrees, declined, low = index % 2 == 0, index % 5 == 0, index % 7 == 0
        known = None if declined else float(agrees)
        asked.append(Asked("d", "en alone", 5, True, np.zeros((1, N)), np.zeros(1), declined, known))
        scored.append(Best(0.1 if low else 0.5 + index / 2000, 1.0, agrees))
        if declined or low:  # what would spoil the shares
            asked[-1] = dataclasses.replace(asked[-1], reply_f1=None if declined else float(not agrees))
    found = calibrate.replies(asked, scored, 0.3)
    assert found == {"agreed": {"edges": [], "right": [1.0]}, "apart": {"edges": [], "right": [0.0]}}
    assert calibrate.replies(asked[:80], scored[:80], 0.3) == {}, "fewer than a band takes"


SHARES = {"agreed": 1.0, "apart": 0.0}


def test_false_alarms_are_what_was_asked_for(tmp_path, capsys):
    files = []
    for index, asked in enumerate(made(400)):
        names = list(Signals.__dataclass_fields__)
        line = {
            "model": "m",
            "way": "select",
            "lang": "en",
            "beams": 5,
            "row": "alone",
            "document": asked.document,
            "answerable": asked.answerable,
            "declined": index % 50 == 0,
            "reply_f1": None if index % 50 == 0 else float(index % 3 > 0),
            "candidates": [
                {**dict(zip(names, row, strict=True)), "f1": f1, "held": index % 3 > 0}
                for row, f1 in zip(asked.signals.tolist(), asked.f1.tolist(), strict=True)
            ],
        }
        files.append(json.dumps(line))
        assert index < 400
    signals, out = tmp_path / "signals.jsonl", tmp_path / "calibration.json"
    signals.write_text("\n".join(files), encoding="utf-8")
    assert {key: len(value) for key, value in load_signals([signals]).items()} == {("m", "select"): 400}
    calibrate.main(["fit", str(signals), "--out", str(out)])
    entry = json.loads(out.read_text())["models"]["m"]["select"]
    # one kind of questions with an answer: the fewest refused are the nearest to what is allowed
    assert entry["measured"]["false_alarm"] == pytest.approx(calibrate.FALSE_ALARMS[0], abs=0.01)
    assert entry["measured"]["absent_questions"] == 100
    assert entry["replies"] == {name: {"edges": [], "right": [right]} for name, right in SHARES.items()}
    assert json.loads(capsys.readouterr().out)["m"]["select"]["questions"] == 400
