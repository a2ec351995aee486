import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine.cache import Cache
from xgen.engine.generate import prefill
from xgen.engine.score import prefill_scored, score
from xgen.engine.tree import ROOT, Tree

PREFIX = [3, 1, 4, 1, 5]


def logits_after(model, ids):
    with torch.inference_mode():
        return model.logits(model(torch.tensor([ids])))[0, -1]


@given(
    links=st.lists(st.tuples(st.integers(0, 511), st.integers(0, 100)), min_size=1, max_size=12),
    cut=st.integers(0, 12),
)
@settings(max_examples=25, deadline=None)
def test_law_a_branch_sees_its_own_past_only(model, links, cut):
    cache = Cache.empty(model, 64)
    prefill(model, cache, PREFIX)
    ids = [token for token, _ in links]
    parents = [ROOT if i == 0 else pick % (i + 1) - 1 for i, (_, pick) in enumerate(links)]
    tree = Tree(model, cache)
    cut = min(cut, len(ids))
    parts = [tree.grow(ids[a:b], parents[a:b]) for a, b in ((0, cut), (cut, len(ids))) if b > a]
    logits = torch.cat(parts)
    for node in range(len(ids)):
        path, at = [], node
        while at != ROOT:
            path.append(ids[at])
            at = parents[at]
        torch.testing.assert_close(
            logits[node], logits_after(model, PREFIX + path[::-1]), atol=3e-4, rtol=3e-4
        )
    assert cache.length == len(PREFIX)


def test_law_scores_are_sums_of_steps(model):
    cache = Cache.empty(model, 64)
    logits = prefill(model, cache, PREFIX)
    texts = [[7], [7, 8, 9], [100, 7]]
    for text, total in zip(texts, score(model, cache, logits, texts), strict=True):
        steps = [
            float(logits_after(model, PREFIX + text[:i]).log_softmax(-1)[token])
            for i, token in enumerate(text)
        ]
        assert total == pytest.approx(sum(steps), abs=2e-3)
    with pytest.raises(ValueError, match="empty"):
        score(model, cache, logits, [[1], []])


def test_prefill_scored_equals_prefill(model):
    cache, again = Cache.empty(model, 64), Cache.empty(model, 64)
    logits, logprobs = prefill_scored(model, cache, PREFIX)
    torch.testing.assert_close(logits, prefill(model, again, PREFIX), atol=1e-4, rtol=1e-4)
    steps = [float(logits_after(model, PREFIX[:i]).log_softmax(-1)[PREFIX[i]]) for i in range(1, 5)]
    torch.testing.assert_close(logprobs, torch.tensor(steps), atol=1e-3, rtol=1e-3)
    assert cache.length == 5


def test_a_full_cache_is_said(model):
    cache = Cache.empty(model, 6)
    prefill(model, cache, PREFIX)
    with pytest.raises(ValueError, match="holds 6"):
        Tree(model, cache).grow([1, 2], [ROOT, ROOT])
