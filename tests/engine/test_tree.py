import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine.cache import Cache, Rows
from xgen.engine.generate import prefill
from xgen.engine.score import prefill_scored, read_rows, score
from xgen.engine.tree import ROOT, Tree

PREFIX = [3, 1, 4, 1, 5]
TOKENS = st.integers(0, 511)
TEXTS = st.lists(st.lists(TOKENS, min_size=1, max_size=9), min_size=1, max_size=4)
LINKS = st.lists(st.tuples(TOKENS, st.integers(0, 100)), min_size=1, max_size=12)
NEAR = {"atol": 3e-4, "rtol": 3e-4}


def logits_after(model, ids):
    with torch.inference_mode():
        return model.logits(model(torch.tensor([ids])))[0, -1]


def logprob_of(model, before, ids):
    """The sum of one forward pass a token."""
    steps = (logits_after(model, before + ids[:i]).log_softmax(-1)[ids[i]] for i in range(len(ids)))
    return float(sum(steps))


def rows_of(model, texts, spare=64):
    rows, logits, _ = read_rows(model, texts, [1] * len(texts), spare)
    return rows, logits


def parents_of(links):
    return [ROOT if i == 0 else pick % (i + 1) - 1 for i, (_, pick) in enumerate(links)]


def path_to(node, ids, parents):
    path = []
    while node != ROOT:
        path.insert(0, ids[node])
        node = parents[node]
    return path


@given(texts=TEXTS, links=LINKS, cut=st.integers(0, 12), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_law_a_branch_sees_its_own_row_and_past_only(model, texts, links, cut, seed):
    rows, _ = rows_of(model, texts)
    # every row has a tree of its own: other tokens, other parents
    ids = [[(token + b) % 512 for token, _ in links] for b in range(len(texts))]
    parents = [parents_of([(token, pick + b * seed) for token, pick in links]) for b in range(len(texts))]
    cut, n = min(cut, len(links)), len(links)
    tree = Tree(model, rows)
    grown = [
        tree.grow([row[a:b] for row in ids], [row[a:b] for row in parents])
        for a, b in ((0, cut), (cut, n))
        if b > a
    ]
    logits = torch.cat(grown, dim=1)
    for b, text in enumerate(texts):
        for node in range(n):
            alone = logits_after(model, text + path_to(node, ids[b], parents[b]))
            torch.testing.assert_close(logits[b, node], alone, **NEAR)


@given(texts=TEXTS)
@settings(max_examples=25, deadline=None)
def test_law_rows_side_by_side_equal_each_alone(model, texts):
    n_scored = [1 + len(text) // 2 for text in texts]
    rows, logits, logprobs = read_rows(model, texts, n_scored, spare=8)
    assert (list(rows.lengths), rows.capacity) == ([len(t) for t in texts], max(map(len, texts)) + 8)
    continuations = [[7], [7, 8, 9], [100, 7]]
    totals = score(model, rows, logits, continuations)
    for b, text in enumerate(texts):
        torch.testing.assert_close(logits[b], logits_after(model, text), **NEAR)
        scored = text[len(text) - n_scored[b] :]
        before = text[: len(text) - n_scored[b] + 1]
        assert len(logprobs[b]) == len(scored) - 1
        assert float(logprobs[b].sum()) == pytest.approx(logprob_of(model, before, scored[1:]), abs=2e-3)
        expected = [logprob_of(model, text, ids) for ids in continuations]
        assert totals[b] == pytest.approx(expected, abs=2e-3)


@given(texts=TEXTS, dtype=st.sampled_from([torch.float32, torch.int8]))
@settings(max_examples=15, deadline=None)
def test_law_rows_behind_a_cache_equal_each_read_whole(model, texts, dtype):
    cache = Cache.empty(model, 64, dtype)
    prefill(model, cache, PREFIX)
    rows, logits, logprobs = read_rows(model, texts, [len(t) for t in texts], 8, dtype, cache)
    assert (list(rows.lengths), cache.length) == ([len(PREFIX) + len(t) for t in texts], len(PREFIX))
    near = NEAR if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.05}  # a number may round otherwise
    totals = score(model, rows, logits, [[7, 8, 9]])
    for b, text in enumerate(texts):
        cache.cut(len(PREFIX))
        logits_V, logprobs_T = prefill_scored(model, cache, text)
        torch.testing.assert_close(logits[b], logits_V, **near)
        torch.testing.assert_close(logprobs[b], logprobs_T, **near)
        alone = score(model, Rows.of(cache), logits_V[None], [[7, 8, 9]])
        assert totals[b] == pytest.approx(alone[0], abs=2e-3 if dtype == torch.float32 else 0.1)


def test_the_rows_of_a_cache_are_its_own(model):
    cache = Cache.empty(model, 64)
    logits = prefill(model, cache, PREFIX)
    totals = score(model, Rows.of(cache), logits[None], [[7, 8], [100]])
    assert totals[0] == pytest.approx([logprob_of(model, PREFIX, ids) for ids in ([7, 8], [100])], abs=2e-3)
    # what the tree wrote behind the text is no part of it
    torch.testing.assert_close(prefill(model, cache, [9]), logits_after(model, [*PREFIX, 9]), **NEAR)


def test_an_empty_continuation_has_no_score(model):
    rows, logits = rows_of(model, [PREFIX])
    with pytest.raises(ValueError, match="empty"):
        score(model, rows, logits, [[1], []])


def test_prefill_scored_equals_prefill(model):
    cache, again = Cache.empty(model, 64), Cache.empty(model, 64)
    logits, logprobs = prefill_scored(model, cache, PREFIX)
    torch.testing.assert_close(logits, prefill(model, again, PREFIX), atol=1e-4, rtol=1e-4)
    steps = [float(logits_after(model, PREFIX[:i]).log_softmax(-1)[PREFIX[i]]) for i in range(1, 5)]
    torch.testing.assert_close(logprobs, torch.tensor(steps), atol=1e-3, rtol=1e-3)
    assert cache.length == 5


def test_full_rows_are_said(model):
    rows, _ = rows_of(model, [PREFIX, [1]], spare=1)
    with pytest.raises(ValueError, match="holds 6"):
        Tree(model, rows).grow([[1, 2], [1, 2]], [[ROOT, ROOT]] * 2)
