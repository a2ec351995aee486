"""One token in few calls, beside the model's own pass over what its 4 and 8 bits stand for, in fp32."""

import dataclasses
import gc
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine import one_token_cpu
from xgen.engine.cache import Cache, empty_buffers
from xgen.engine.generate import generate, prefill
from xgen.engine.one_token_cpu import OneTokenCpu, one_token_for
from xgen.engine.sample import greedy
from xgen.model.attention import attend_cpu, attend_reference
from xgen.model.int4 import add_int4, packed_weight
from xgen.model.int8 import add_int8, quantised_weight
from xgen.model.shape import SHAPES, RopeScaling
from xgen.model.transformer import Transformer

Q4_1 = GGMLQuantizationType.Q4_1
SHAPE = dataclasses.replace(SHAPES["tiny"], d_model=64, d_ff=96, n_heads=4, n_kv_heads=2, head_dim=16)


def pair(int4, two_layers=(), dtype=torch.bfloat16, max_rows=4, alone=False, seed=0, **changes):
    """A model whose maps `int4` are in 4 bits and the others in 8, and what it stands for, plain in fp32."""
    torch.manual_seed(seed)
    shape = dataclasses.replace(SHAPE, **changes)
    plain = Transformer(shape, attend_reference).eval().requires_grad_(False)
    for name, p in plain.named_parameters():
        p.normal_(std=1.0 if name.startswith("embedding") else 1.5 * p.shape[-1] ** -0.5)
        if p.ndim == 1:
            p.abs_().add_(0.5) if "norm" in name else p.mul_(0.1)
        elif name.split(".")[-2] in int4:
            p.copy_(torch.from_numpy(dequantize(quantize(p.numpy(), Q4_1), Q4_1)).bfloat16())
    four, eight = {}, {}
    for name, p in plain.named_parameters():
        short = name.removesuffix(".weight")
        if p.ndim == 2 and name.split(".")[-2] in {*int4, *two_layers}:
            four[f"{short}.packed"], four[f"{short}.groups"] = packed_weight(p)
        if p.ndim == 2 and (f"{short}.packed" not in four or short == "embedding"):
            eight[f"{short}.int8"], eight[f"{short}.scale"] = quantised_weight(p)
    fast = Transformer(shape, attend_cpu).eval().requires_grad_(False)
    fast.load_state_dict(plain.state_dict())
    fast = fast.to(dtype)
    add_int4(fast, four, max_rows)
    add_int8(fast, eight, max_rows, alone)
    for name, p in plain.named_parameters():
        short = name.removesuffix(".weight")
        if f"{short}.int8" in eight:
            if alone or name != "embedding.weight":
                p.copy_(eight[f"{short}.int8"] * eight[f"{short}.scale"].float()[:, None])
        else:
            p.copy_(p.to(dtype))
    return fast, plain


MAPS = {
    "4 bits": {"q", "k", "v", "o", "gate", "up", "down"},
    "8 bits": set(),
    "both": {"q", "v", "up"},
}
CASES = {
    **{name: {"int4": maps} for name, maps in MAPS.items()},
    "biases": {"int4": {"gate", "down"}, "qkv_bias": True},
    "4 bits and biases": {"int4": MAPS["4 bits"], "qkv_bias": True},
    "fp32": {"int4": MAPS["both"], "dtype": torch.float32, "max_rows": 16},
    "two layers": {"int4": set(), "two_layers": MAPS["4 bits"]},
    "one and two": {"int4": {"k", "o", "up"}, "two_layers": {"q", "v", "gate", "embedding"}},
    "8 bits alone": {"int4": set(), "alone": True},
    "an own head": {"int4": MAPS["4 bits"], "tied_head": False},
    "one head a key": {"int4": MAPS["4 bits"], "n_kv_heads": 4},
    "one key head": {"int4": MAPS["both"], "n_kv_heads": 1},
    "scaled": {"int4": MAPS["both"], "rope_scaling": RopeScaling(factor=4.0)},
}


@pytest.fixture(scope="module", params=CASES, ids=str)
def models(request):
    return pair(**CASES[request.param])


def far(ours, exact):
    return float((ours - exact).norm() / exact.norm())


@torch.inference_mode()
def exactly(plain, ids):
    return plain.logits(plain(torch.tensor([ids])))[0]


@given(n_before=st.integers(1, 70), seed=st.integers(0, 999))
@settings(max_examples=8, deadline=None)
def test_law_a_token_is_that_of_the_model(models, n_before, seed):
    """Its logits, keys and values, behind a text that was read at once."""
    fast, plain = models
    ids = torch.randint(0, 128, (n_before + 1,), generator=torch.Generator().manual_seed(seed)).tolist()
    cache, own = (Cache.empty(fast, n_before + 3) for _ in range(2))
    for one in (cache, own):
        for part in (ids[i : min(i + 5, n_before)] for i in range(0, n_before, 5)):
            with torch.inference_mode():
                fast(torch.tensor([part]), cache=one.buffers, start=one.length)
            one.length += len(part)
    logits = one_token_for(fast, cache).after(ids[-1], cache)
    assert logits.shape == (fast.shape.vocab_size,)
    assert logits.dtype == torch.float32
    assert cache.length == n_before
    with torch.inference_mode():
        hidden = fast(torch.tensor([ids[-1:]]), cache=own.buffers, start=n_before)
        own_logits = fast.logits(hidden[0, -1])
    exact = exactly(plain, ids)[-1]
    assert far(logits, exact) < max(0.03, 1.2 * far(own_logits, exact))
    for ours, theirs in zip(cache.buffers, own.buffers, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert far(a[:, :, : n_before + 1], b[:, :, : n_before + 1]) < 0.03
            assert not a[:, :, n_before + 1 :].any()


@pytest.mark.parametrize("case", ["one head a key", "biases", "fp32"])
@pytest.mark.parametrize("larger", [1, 300])
@pytest.mark.parametrize("n_before", [14, 15, 63, 90])
def test_over_a_cache_of_bf16(case, larger, n_before, monkeypatch):
    """Short and long texts, ordinary scores and such as bf16 does not tell apart; guesses lie behind."""
    monkeypatch.setattr(one_token_cpu, "LONG", 16)
    monkeypatch.setattr(one_token_cpu, "STEP", 64)
    fast, plain = pair(**CASES[case])
    with torch.no_grad():
        for model in (fast, plain):
            for layer in model.layers:
                layer.attention_norm.weight *= larger  # of keys, queries and values
    ids = torch.randint(0, 128, (n_before + 1,), generator=torch.Generator().manual_seed(n_before)).tolist()
    cache, exact = (Cache.empty(fast, 96, dtype) for dtype in (torch.bfloat16, torch.float32))
    with torch.inference_mode():
        for one in (cache, exact):
            fast(torch.tensor([[*ids[:-1], 3]])[:, :96], cache=one.buffers)
            one.length = n_before
    calls = []
    in_bf16 = OneTokenCpu._attend_in_bf16
    monkeypatch.setattr(OneTokenCpu, "_attend_in_bf16", lambda *words: calls.append(words) or in_bf16(*words))
    logits = one_token_for(fast, cache).after(ids[-1], cache)
    expected = one_token_for(fast, exact).after(ids[-1], exact)
    assert len(calls) == (len(fast.layers) if n_before >= 15 else 0)
    assert far(logits, expected) < 0.03


def test_nothing_stays_from_one_token_to_the_next(models):
    fast, _ = models
    fresh = OneTokenCpu(fast)
    cache = Cache.empty(fast, 40)
    prefill(fast, cache, [*range(30)])
    logits = [one_token_for(fast, cache).after(token, cache) for token in (7, 9, 7)]
    assert torch.equal(logits[0], logits[2])
    assert torch.equal(fresh.after(9, cache), logits[1])
    assert torch.equal(one_token_for(fast, cache).after(9, cache), logits[1])


def test_writing_goes_through_it(models, monkeypatch):
    """`generate` and a prefill of a single id; greedy ids are those of the plain model but for near ties."""
    fast, plain = models
    ids, cache = [*range(12)], Cache.empty(fast, 40)
    logits = prefill(fast, cache, ids)
    calls = []
    after = OneTokenCpu.after
    monkeypatch.setattr(OneTokenCpu, "after", lambda *words: calls.append(words) or after(*words))
    said = [*generate(fast, cache, logits, greedy(), frozenset(), 10)]
    assert len(calls) == 9
    before = cache.length
    prefill(fast, cache, [5])
    assert (len(calls), cache.length) == (10, before + 1)
    for i, token in enumerate(said[1:], 1):
        exact = exactly(plain, ids + said[:i])[-1]
        assert exact.max() - exact[token] < 0.1 * exact.norm() / len(exact) ** 0.5


@pytest.mark.parametrize("alone", [True, False])
def test_logits_are_made_of_what_the_models_own_norm_gives(alone, monkeypatch):
    """Of 8 bits alone in fp32, else in bf16."""
    fast, _ = pair(set(), alone=alone)
    given, logits = [], Transformer.logits
    monkeypatch.setattr(Transformer, "logits", lambda self, x: given.append(x) or logits(self, x))
    cache = Cache.empty(fast, 4)
    one_token_for(fast, cache).after(7, cache)
    with torch.inference_mode():
        own = fast(torch.tensor([[7]]))
    assert given[0].dtype == own.dtype == (torch.float32 if alone else torch.bfloat16)
    assert alone == bool((given[0].bfloat16() != given[0]).any())
    assert far(given[0].float(), own[0].float()) < 0.03


def test_conversations_in_threads_are_those_alone(monkeypatch):
    """Each steps aside where its queries are written and not yet read."""
    fast, _ = pair(MAPS["both"])
    attend = one_token_cpu.scaled_dot_product_attention
    slow = lambda *words: time.sleep(1e-4) or attend(*words)  # noqa: E731
    monkeypatch.setattr(one_token_cpu, "scaled_dot_product_attention", slow)

    def said(first):
        cache = Cache.empty(fast, 24)
        logits = prefill(fast, cache, [first, first + 1])
        return [*generate(fast, cache, logits, greedy(), frozenset(), 20)]

    alone = [said(first) for first in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert [*pool.map(said, range(6))] == alone


def test_a_model_that_nobody_has_is_forgotten():
    fast, _ = pair(MAPS["both"])
    cache = Cache.empty(fast, 4)
    one_token_for(fast, cache).after(7, cache)
    seen = weakref.ref(fast)
    del fast
    gc.collect()
    assert seen() is None


def test_it_serves_what_it_is_for():
    fast, plain = pair(MAPS["both"])
    assert one_token_for(fast, Cache.empty(fast, 4)) is not None
    assert one_token_for(fast, Cache.empty(fast, 4, torch.int8)) is None
    assert one_token_for(fast, Cache.empty(fast, 4, torch.float16)) is None
    assert one_token_for(fast, SimpleNamespace(buffers=empty_buffers(fast, 2, 4))) is None
    assert one_token_for(plain, Cache.empty(plain, 4)) is None
    odd, _ = pair(set(), d_ff=100)  # 8 bits leave such widths alone
    assert one_token_for(odd, Cache.empty(odd, 4)) is None
