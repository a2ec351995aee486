import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine import compare as compare_module
from xgen.engine.cache import Cache
from xgen.engine.compare import (
    Difference,
    Subject,
    compare,
    continued,
    faults,
    first_difference,
)
from xgen.model.shape import SHAPES
from xgen.model.transformer import Transformer

IDS = [(37 * i + i // 7) % 500 for i in range(50)]


def coarser(model):
    other = Transformer(SHAPES["tiny"], model.attend).eval()
    other.load_state_dict({name: (64 * p).round() / 64 for name, p in model.state_dict().items()})
    return other


def subject(model, capacity=80, dtype=None):
    return Subject(model, Cache.empty(model, capacity, dtype))


@pytest.mark.parametrize("chunk", [1, 7, 49, 50, 128])
def test_against_torch(model, monkeypatch, chunk):
    """KL, perplexity and first choice by torch.nn.functional over whole logits in float64."""
    monkeypatch.setattr(compare_module, "CHUNK", chunk)
    other, ids = coarser(model), torch.tensor([IDS])
    with torch.inference_mode():
        p, q = (m.logits(m(ids))[0, :-1].double() for m in (model, other))
    (found,) = compare(subject(model), [subject(other)], IDS)
    kl = torch.nn.functional.kl_div(
        q.log_softmax(-1), p.log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    assert found.n_tokens == 49
    assert found.mean_kl == pytest.approx(float(kl.mean()), rel=1e-3)
    assert found.max_kl == pytest.approx(float(kl.max()), rel=1e-3)
    assert found.max_kl_at == int(kl.argmax())
    assert found.same_first == pytest.approx(float((p.argmax(-1) == q.argmax(-1)).double().mean()), abs=1e-9)
    for logits, perplexity in ((p, found.perplexity_of_reference), (q, found.perplexity)):
        expected = math.exp(torch.nn.functional.cross_entropy(logits, ids[0, 1:]))
        assert perplexity == pytest.approx(expected, rel=1e-4)


@settings(deadline=None, max_examples=10)
@given(n=st.integers(2, 60), more=st.integers(1, 3))
def test_law_a_model_does_not_differ_from_itself(model, n, more):
    ids, told = (IDS * 2)[:n], []
    for found in compare(subject(model), [subject(model) for _ in range(more)], ids, told.append):
        assert (found.mean_kl, found.max_kl, found.same_first, found.perplexity_change) == (0, 0, 1, 0)
        assert faults(found, found) == []
    assert sum(told) == n


def test_a_text_of_one_token_predicts_nothing(model):
    with pytest.raises(ValueError, match="less than two"):
        compare(subject(model), [], [1])


def test_the_text_behind_is_the_likeliest(model):
    """Each id is the first choice behind all before it; its margin is that over the second."""
    one = subject(model)
    compare(one, [], IDS)
    text = continued(one, IDS[-1], {3, 4}, 20)
    with torch.inference_mode():
        logits = model.logits(model(torch.tensor([[*IDS, *text.ids]])))[0, len(IDS) - 1 : -1]
    two = logits.index_fill(1, torch.tensor([3, 4]), float("-inf")).log_softmax(-1).topk(2)
    assert text.ids == tuple(two.indices[:, 0].tolist())
    assert text.margins == pytest.approx((two.values[:, 0] - two.values[:, 1]).tolist(), abs=1e-3)


@given(one=st.lists(st.integers(0, 2), max_size=6), other=st.lists(st.integers(0, 2), max_size=6))
def test_law_texts_are_the_same_up_to_where_they_differ(one, other):
    place = first_difference(one, other)
    if place is None:
        assert one == other
    else:
        assert one[:place] == other[:place]
        assert one[place : place + 1] != other[place : place + 1]


@pytest.mark.parametrize(
    ("perplexity", "same_first", "words"),
    [
        (10.04, 0.99, []),
        (9.0, 0.986, []),
        (10.06, 0.99, ["perplexity"]),
        (10.1, 0.98, ["perplexity", "first"]),
    ],
)
def test_what_speaks_against_8_bits(perplexity, same_first, words):
    of_16_bits = Difference(100, 0, 0, 0, 0.99, 10.0, 10.0)
    found = faults(Difference(100, 0, 0, 0, same_first, perplexity, 10.0), of_16_bits)
    assert [each for each, word in zip(found, words, strict=True) if word in each] == found
    assert len(faults(Difference(100, 0, 0, 0, same_first, perplexity, 10.0), None)) <= len(found)
