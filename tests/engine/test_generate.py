import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine import generate as engine
from xgen.engine.cache import Cache
from xgen.engine.sample import greedy


@given(cuts=st.lists(st.integers(1, 99), max_size=6), n=st.integers(2, 100))
@settings(max_examples=25, deadline=None)
def test_law_cached_equals_full_in_any_chunking(model, cuts, n):
    ids = torch.randint(0, 512, (n,), generator=torch.Generator().manual_seed(n)).tolist()
    cache = Cache.empty(model, 128)
    edges = sorted({0, n, *(c for c in cuts if c < n)})
    for begin, end in itertools.pairwise(edges):
        logits = engine.prefill(model, cache, ids[begin:end])
    with torch.inference_mode():
        full = model.logits(model(torch.tensor([ids])))[0, -1]
    torch.testing.assert_close(logits, full, atol=2e-4, rtol=2e-4)
    assert cache.length == n


def test_law_a_cut_cache_forgets(model):
    cache = Cache.empty(model, 64)
    first = engine.prefill(model, cache, [1, 2, 3])
    engine.prefill(model, cache, [4, 5])
    cache.cut(2)
    torch.testing.assert_close(engine.prefill(model, cache, [3]), first)


def test_generation_equals_recomputing_everything(model):
    cache, prompt = Cache.empty(model, 64), [5, 9, 100]
    out = list(
        engine.generate(
            model, cache, engine.prefill(model, cache, prompt), greedy(), end_ids=set(), max_tokens=12
        )
    )
    ids = list(prompt)
    for token in out:
        with torch.inference_mode():
            assert int(model.logits(model(torch.tensor([ids])))[0, -1].argmax()) == token
        ids.append(token)
    assert len(out) == 12


def test_generation_stops(model):
    cache = Cache.empty(model, 8)
    logits = engine.prefill(model, cache, [1, 2, 3])
    free = list(engine.generate(model, cache, logits, greedy(), set(), 100))
    assert len(free) == 8 - 3 + 1
    assert cache.length == 8
    cache.cut(3)
    assert list(engine.generate(model, cache, logits, greedy(), {free[0]}, 100)) == []
    with pytest.raises(ValueError, match="holds 8"):
        engine.prefill(model, cache, [0] * 9)
