import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xgen.train.spikes import MARGIN, PATIENCE, SpikeGuard


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def feed(guard: SpikeGuard, losses: list[float], norm: float = 1.0) -> list[bool]:
    verdicts = []
    for loss in losses:
        accepted = guard.accepts(scalar(loss), scalar(norm))
        guard.remember(scalar(loss), scalar(norm), accepted)
        verdicts.append(bool(accepted))
    return verdicts


@given(st.lists(st.floats(1.0, 2.0), min_size=20, max_size=60), st.integers(16, 40))
def test_against_numpy_the_bound_is_mean_and_deviations(losses: list[float], window: int) -> None:
    guard = SpikeGuard(window, 6.0, torch.device("cpu"))
    feed(guard, losses)
    kept = np.array(losses)[-window:]
    if int(guard.n_accepted) < len(losses):
        return  # one was an outlier itself
    expected = kept.mean() + max(6 * kept.std(), MARGIN * kept.mean())
    assert float(guard.bounds()[0]) == np.float64(expected) or math.isclose(
        float(guard.bounds()[0]), expected, rel_tol=1e-9
    )


def test_a_spike_is_out_and_leaves_no_trace() -> None:
    guard = SpikeGuard(32, 6.0, torch.device("cpu"))
    steady = [3.0 + 0.01 * (n % 5) for n in range(40)]
    assert all(feed(guard, steady))
    assert feed(guard, [30.0, math.nan, math.inf]) == [False] * 3
    assert not bool(guard.accepts(scalar(3.0), scalar(50.0))), "a gradient norm counts as well"
    assert feed(guard, [3.02]) == [True]
    feed(same := SpikeGuard(32, 6.0, torch.device("cpu")), [*steady, 3.02])
    assert all(torch.equal(same.state()[name], value) for name, value in guard.state().items())


def test_before_there_is_a_bound_only_what_is_not_finite_is_out() -> None:
    guard = SpikeGuard(32, 6.0, torch.device("cpu"))
    assert feed(guard, [1.0, 100.0, math.nan, 3.0]) == [True, True, False, True]


def test_a_new_stage_begins_anew() -> None:
    guard = SpikeGuard(32, 6.0, torch.device("cpu"))
    feed(guard, [1.0] * 40)
    assert feed(guard, [9.0]) == [False]
    guard.forget()
    assert feed(guard, [9.0]) == [True]


@given(st.integers(0, 70))
def test_law_a_restored_guard_says_the_same(n: int) -> None:
    losses = [2.0 + 0.1 * math.sin(k) for k in range(n)]
    first, second = (SpikeGuard(24, 4.0, torch.device("cpu")) for _ in range(2))
    feed(first, losses)
    second.restore(first.state())
    assert torch.equal(first.bounds(), second.bounds())


def test_a_guard_that_only_says_no_begins_anew() -> None:
    guard = SpikeGuard(32, 6.0, torch.device("cpu"))
    feed(guard, [3.0] * 40)
    assert feed(guard, [9.0] * (PATIENCE + 2)) == [False] * PATIENCE + [True] * 2
    assert feed(guard, [math.nan] * 30 + [9.0]) == [False] * 30 + [True]
