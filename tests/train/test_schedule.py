import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.train.recipe import LearningRate
from xgen.train.schedule import learning_rates


@given(
    st.floats(1e-6, 1.0), st.integers(0, 50), st.sampled_from(["cosine", "linear", "none"]), st.floats(0, 1)
)
def test_law_rates_stay_between_zero_and_the_peak(peak: float, warmup: int, decay: str, final: float) -> None:
    rates = learning_rates(LearningRate(peak, warmup * 10, decay, 200, final), 60, 10).double()
    assert len(rates) == 60
    assert (rates > 0).all() or final == 0
    assert (rates <= peak * (1 + 1e-6)).all()


def test_against_the_formulas() -> None:
    rates = learning_rates(LearningRate(1.0, 100, "cosine", 0, 0.1), 110, 10).tolist()
    assert rates[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert rates[60] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    rates = learning_rates(LearningRate(1.0, 0, "linear", 200, 0.0), 100, 10).tolist()
    assert rates[:80] == [1.0] * 80
    assert rates[90] == pytest.approx(0.5)
    assert learning_rates(LearningRate(2.0, 0, "none", 0, 0.0), 3, 10).tolist() == [2.0] * 3


def test_against_torch_cosine() -> None:
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.05)
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert learning_rates(LearningRate(0.5, 0, "cosine", 0, 0.1), 40, 7).tolist() == pytest.approx(expected)
