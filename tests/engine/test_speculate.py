import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.bundle import load
from xgen.engine import generate as engine
from xgen.engine.cache import Cache
from xgen.engine.sample import Sampling, greedy, sampler
from xgen.engine.speculate import LONGEST_DRAFT, N_TRIALS, Lookup
from xgen.model.attention import attend_cpu
from xgen.model.int8 import add_int8
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer

PROMPT = [5, 9, 100, 7, 5, 9, 100, 8, 5, 9]
IDS = st.lists(st.integers(0, 3), max_size=40)


@given(context=IDS, more=IDS, n_most=st.integers(0, 9))
def test_law_a_guess_is_what_followed_the_same_ids_before(context, more, n_most):
    lookup = Lookup(context)
    for token in more:
        lookup.take(token)
    ids = [*context, *more]
    draft = lookup.draft(n_most)
    assert len(draft) <= min(n_most, LONGEST_DRAFT)
    text = ",".join(map(str, ids))
    if draft:
        assert ",".join(map(str, [*ids[-2:], *draft])) in text
    elif n_most and len(ids) > 2:
        assert ids[-2:] not in [ids[i : i + 2] for i in range(len(ids) - 2)]


def written(model, choose, lookup, end_ids=frozenset(), n=40, capacity=128):
    cache = Cache.empty(model, capacity)
    logits = engine.prefill(model, cache, PROMPT)
    out = list(engine.generate(model, cache, logits, choose, end_ids, n, lookup))
    return out, cache


class Oracle(Lookup):
    """Guesses what will come, and now and then something else."""

    def __init__(self, coming, wrong_every):
        super().__init__([])
        self.coming, self.wrong_every, self.drafts = coming, wrong_every, []

    def draft(self, n_most):
        at = len(self._ids)
        draft = [
            token + 1 if at + i and (at + i) % self.wrong_every == 0 else token
            for i, token in enumerate(self.coming[at : at + min(5, n_most, self.longest)])
        ]
        self.drafts.append(draft)
        return draft


@settings(deadline=None, max_examples=15)
@given(wrong_every=st.integers(1, 9), n=st.integers(0, 45), capacity=st.integers(12, 70), drawn=st.booleans())
def test_law_the_text_is_the_same_with_any_guesses(model, wrong_every, n, capacity, drawn):
    def choose():
        return sampler(Sampling(1.5, seed=3)) if drawn else greedy()

    plain, before = written(model, choose(), None, n=n, capacity=capacity)
    oracle = Oracle(plain, wrong_every)
    guessed, after = written(model, choose(), oracle, n=n, capacity=capacity)
    assert guessed == plain
    assert after.length == before.length
    for one, other in zip(before.buffers, after.buffers, strict=True):
        for x, y in zip(one, other, strict=True):
            filled = slice(0, after.length)
            torch.testing.assert_close(x[:, :, filled], y[:, :, filled], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n", [5, 40])
def test_guesses_go_through_the_same_8_bit_weights(n, matrices_in_8_bits):
    """Passes of more rows would go through others, and the text depend on when something was guessed."""
    torch.manual_seed(1)
    shape = Shape(2, 64, 128, 4, 2, 16, 300, 8192, 1e4, 1e-5, True)
    model = Transformer(shape, attend_cpu).eval().requires_grad_(False)
    add_int8(model, matrices_in_8_bits(model), 4)
    plain, _ = written(model, greedy(), None, n=n)
    for wrong_every in (2, 99):
        oracle = Oracle(plain, wrong_every)
        oracle.longest = 3
        guessed, _ = written(model, greedy(), oracle, n=n)
        assert guessed == plain
        assert n < 9 or any(len(draft) == 3 for draft in oracle.drafts)
    assert Lookup(PROMPT, 2).draft(9) == [100, 8]
    assert Lookup(PROMPT, 0).draft(9) == []


def test_law_the_end_is_found_inside_a_guess(model):
    plain, _ = written(model, greedy(), None)
    for stop in range(0, 20, 3):
        end = plain.index(plain[stop])
        out, cache = written(model, greedy(), Oracle(plain, 99), end_ids={plain[stop]})
        assert out == plain[:end]
        assert cache.length <= len(PROMPT) + len(out)


def test_guessing_stops_where_it_does_not_pay():
    for with_draft, stays in ((3, True), (1, False)):
        lookup = Lookup(PROMPT)
        for _ in range(N_TRIALS):
            assert lookup.draft(5) == [100, 8, 5, 9][:5]
            lookup.measured(True, with_draft, 2.0)
            lookup.measured(False, 1, 1.0)
        assert bool(lookup.draft(5)) == stays


@pytest.mark.model
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_real_model_writes_the_same(pulled, dtype):
    """In fp32 exactly; in bf16 up to the first near tie, which is no wider than the type's own noise."""
    bundle = load(pulled("smollm2"), device="cpu", dtype=dtype)
    passage = "The red fox lives in the forest near the old mill. It hunts mice at night and sleeps by day. "
    ids = bundle.tokenizer.encode(passage * 2 + "The red fox lives in")
    texts, n_drafts = [], 0
    for lookup in (None, Lookup(ids)):
        cache = Cache.empty(bundle.model, 256)
        logits = engine.prefill(bundle.model, cache, ids)
        texts.append(list(engine.generate(bundle.model, cache, logits, greedy(), set(), 32, lookup)))
        n_drafts = 0 if lookup is None else lookup._passes[True]
    assert n_drafts > 0
    plain, guessed = texts
    if plain != guessed:
        at = next(i for i, (a, b) in enumerate(zip(plain, guessed, strict=True)) if a != b)
        cache = Cache.empty(bundle.model, 256)
        top = engine.prefill(bundle.model, cache, ids + plain[:at]).topk(2).values
        assert dtype == "bf16"
        assert float(top[0] - top[1]) < 0.25
