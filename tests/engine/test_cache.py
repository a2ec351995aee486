"""What a cache in 8 bits has to do like any other."""

import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen import shelf
from xgen.engine import generate as engine
from xgen.engine import kept
from xgen.engine.cache import Cache, Rows
from xgen.engine.score import read_rows, score
from xgen.engine.speculate import Lookup
from xgen.engine.tree import ROOT, Tree

PROMPT = [5, 9, 100, 7, 5, 9, 100, 8, 5, 9]


def filled(cache):
    return [buffer[:, :, : cache.length] for layer in cache.buffers for buffer in layer]


def same(one, other, atol=0.0):
    """The int8 numbers may be off by one where sums of another order round to the other side."""
    for x, y in zip(filled(one), filled(other), strict=True):
        off = atol if x.dtype != torch.int8 else float(atol > 0)
        torch.testing.assert_close(x.float(), y.float(), atol=off, rtol=atol)
    return one.length == other.length


@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(1, 40), max_size=3), seed=st.integers(0, 99))
def test_law_any_chunks_leave_the_same_8_bits(model, cuts, seed):
    ids = random.Random(seed).choices(range(512), k=41)
    whole, pieces = (Cache.empty(model, 64, torch.int8) for _ in range(2))
    logits = engine.prefill(model, whole, ids)
    edges = sorted({0, 41, *cuts})
    for start, end in pairwise(edges):
        last = engine.prefill(model, pieces, ids[start:end])
    assert same(whole, pieces, 1e-4)
    assert (logits - last).norm() / logits.norm() < 0.02


def test_what_it_says_is_near_what_a_cache_in_fp32_says(model):
    caches = [Cache.empty(model, 64, dtype) for dtype in (torch.float32, torch.int8, torch.bfloat16)]
    exact, *near = [engine.prefill(model, cache, [*range(40)]) for cache in caches]
    for logits in near:
        assert 0 < (logits - exact).norm() / exact.norm() < 0.05
    assert sum(b.nbytes for b in filled(caches[1])) < 0.33 * sum(b.nbytes for b in filled(caches[0]))


def test_guesses_leave_the_text_as_it_is(model):
    def said(lookup):
        cache = Cache.empty(model, 80, torch.int8)
        logits = engine.prefill(model, cache, PROMPT)
        return list(engine.generate(model, cache, logits, likeliest, frozenset(), 50, lookup)), cache

    def likeliest(logits):
        return int(logits.argmax())

    plain, before = said(None)
    guessed, after = said(Lookup(PROMPT + plain[:20]))
    assert guessed == plain
    assert same(before, after, 1e-3)


def test_what_was_cut_back_is_written_anew(model):
    once, again = (Cache.empty(model, 64, torch.int8) for _ in range(2))
    expected = engine.prefill(model, once, PROMPT)
    engine.prefill(model, again, [*PROMPT[:6], 77, 78, 79])
    again.cut(6)
    logits = engine.prefill(model, again, PROMPT[6:])
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)
    assert same(once, again, 1e-4)


def test_rows_side_by_side_equal_each_alone(model):
    texts, continuations = [[1, 2, 3], [4, 5, 6, 7, 8], [9]], [[7, 8], [9, 9, 9]]
    rows, logits, _ = read_rows(model, texts, [1, 1, 1], 16, torch.int8)
    assert rows.buffers[0][0].dtype == torch.int8
    together = score(model, rows, logits, continuations)
    for text, found in zip(texts, together, strict=True):
        alone, behind, _ = read_rows(model, [text], [1], 16, torch.int8)
        assert found == pytest.approx(score(model, alone, behind, continuations)[0], abs=2e-2)


def test_a_tree_grows_behind_it(model):
    cache = Cache.empty(model, 64, torch.int8)
    engine.prefill(model, cache, PROMPT)
    logits = Tree(model, Rows.of(cache)).grow([[3, 4]], [[ROOT, 0]])[0, 1]
    other = Cache.empty(model, 64, torch.int8)
    torch.testing.assert_close(logits, engine.prefill(model, other, [*PROMPT, 3, 4]), atol=1e-3, rtol=1e-3)


def test_it_is_kept_at_half_the_size_and_comes_back_exactly(model, tmp_path, monkeypatch):
    monkeypatch.setenv("XGEN_HOME", str(tmp_path))
    cache, plain = Cache.empty(model, 900, torch.int8), Cache.empty(model, 900)
    for each, key in ((cache, "a"), (plain, "b")):
        engine.prefill(model, each, [i % 500 for i in range(800)])
        assert kept.keep(key, each, torch.bfloat16, "tiny", ["a.txt"])
    found = Cache.empty(model, 820, torch.int8)
    assert kept.recall("a", found)
    assert same(found, cache)
    sizes = {path.stem: path.stat().st_size for path in shelf.folder().glob("*.safetensors")}
    assert sizes["a"] < 0.65 * sizes["b"]  # heads of 16 here, so that a scale is a fifth of a row
    assert not kept.recall("a", Cache.empty(model, 820)), "a cache of another type is not filled with it"
    assert not kept.recall("b", found)
    assert found.length == 0
