from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xgen.model import attention_cpu
from xgen.model.attention import attend_gpu, attend_reference
from xgen.model.attention_cpu import FEW, attend_cpu
from xgen.model.int8 import Int8Rows, add_int8, dequantised, quantised
from xgen.model.keys_values import even_keys, written
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer

SIZE = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 12), st.sampled_from([2, 16, 64]))


def normal(*size, seed=0, dtype=torch.float32):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def room_of_8_bits(n_batch, n_heads, capacity, head_dim):
    size = (n_batch, n_heads, capacity, head_dim)
    numbers = [torch.full(size, 7, dtype=torch.int8) for _ in "kv"]
    return *numbers, *[torch.full(size[:-1], 7.0) for _ in "kv"]


@given(size=SIZE, scale=st.floats(1e-3, 1e3), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
@settings(max_examples=60, deadline=None)
def test_law_no_number_moves_by_more_than_half_its_scale(size, scale, dtype):
    k, v = (normal(*size, seed=seed, dtype=dtype) * scale for seed in (0, 1))
    for given_, found in zip((k, v), written(room_of_8_bits(*size), k, v, 0), strict=True):
        moved = (found.dense(torch.float32) - given_.float()).abs()
        assert (moved <= found.scale[..., None] * (0.5 + 1e-5)).all()
        assert (found.scale <= given_.abs().amax(-1).float() / 127 * (1 + 1e-6)).all()


@given(size=SIZE, cuts=st.lists(st.integers(0, 12)), is_int8=st.booleans())
@settings(max_examples=60, deadline=None)
def test_law_written_in_chunks_equals_written_at_once(size, cuts, is_int8):
    k, v = normal(*size), normal(*size, seed=1)
    n_tokens = size[2]

    def room():
        plain = (torch.zeros(*size), torch.zeros(*size))
        return room_of_8_bits(size[0], size[1], n_tokens + 3, size[3]) if is_int8 else plain

    whole, pieces = room(), room()
    seen = written(whole, k, v, 0)
    edges = sorted({0, n_tokens, *(cut for cut in cuts if cut < n_tokens)})
    for start, end in pairwise(edges):
        last = written(pieces, k[:, :, start:end], v[:, :, start:end], start)
    assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))
    for one, other in zip(seen, last, strict=True):
        assert one.shape == other.shape == size
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("attend", [attend_reference, attend_cpu, attend_gpu])
@given(
    n_queries=st.sampled_from([1, 2, 7, FEW, 100]),
    n_before=st.integers(0, 60),
    n_shared=st.integers(1, 3),
    masked=st.booleans(),
    part=st.sampled_from([1, 100, 1000, 1 << 20]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_law_8_bits_are_attended_as_what_they_stand_for(
    attend, n_queries, n_before, n_shared, masked, part, seed
):
    n_keys = n_before + n_queries
    q = normal(2, 2 * n_shared, n_queries, 32, seed=seed)
    k, v = (Int8Rows(*quantised(normal(2, 2, n_keys, 32, seed=seed + i), torch.float32)) for i in (1, 2))
    mask = None
    if masked:
        mask = normal(2, n_queries, n_keys, seed=seed) > 0
        mask[..., 0] = True
    expected = attend_reference(q, k.dense(torch.float32), v.dense(torch.float32), mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_cpu, "ROOM", part)
        found = attend(q, k, v, mask)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_few_rows_over_a_cache_of_16_bits_are_exact_in_fp32(dtype):
    q, k, v = normal(1, 4, 1, 32), *(normal(1, 2, 50, 32, seed=i, dtype=dtype) for i in (1, 2))
    expected = attend_reference(q, k.float(), v.float(), None)
    torch.testing.assert_close(attend_cpu(q, k, v, None), expected, atol=1e-5, rtol=1e-5)


def test_what_is_not_filled_is_not_seen():
    buffers = room_of_8_bits(1, 2, 9, 16)
    k, v = written(buffers, normal(1, 2, 4, 16), normal(1, 2, 4, 16), 3)
    assert k.shape == v.shape == (1, 2, 7, 16)
    assert (buffers[0][:, :, 7:] == 7).all()
    assert torch.equal(dequantised(*k, torch.float32), k.dense(torch.float32))


def uneven(n_kv_heads=2, bias=150.0):
    """A model with a bias on some of its keys' numbers that is far above the others."""
    torch.manual_seed(0)
    model = Transformer(
        Shape(2, 64, 96, 4, n_kv_heads, 32, 99, 512, qkv_bias=True, tied_head=True), attend_cpu
    )
    for layer in model.layers:
        for each in (layer.q, layer.k, layer.v):
            nn.init.normal_(each.weight, std=0.15)
            nn.init.normal_(each.bias, std=0.2)
        layer.k.bias.data.view(n_kv_heads, 32)[:, 11] += bias
    return model.requires_grad_(False).eval()


@pytest.mark.parametrize("form", ["plain", "int8 beside", "int8 alone"])
@torch.inference_mode()
def test_evened_keys_change_nothing_in_floats(form, matrices_in_8_bits):
    """Powers of two, for rotated pairs, in all the forms of weights: exact."""
    ids = torch.randint(0, 99, (1, 30), generator=torch.Generator().manual_seed(1))
    logits = []
    for evened in (False, True):
        model = uneven()
        if form != "plain":
            add_int8(model, matrices_in_8_bits(model), 4, alone=form == "int8 alone")
        if evened:
            before = model.layers[0].k.bias.clone()
            even_keys(model)
            assert not torch.equal(model.layers[0].k.bias, before)
        logits.append([model.logits(model(ids)), model.logits(model(ids[:, :3]))])
    for one, other in zip(*logits, strict=True):
        assert torch.equal(one, other)


@torch.inference_mode()
def test_8_bits_hold_evened_keys_better():
    ids = torch.randint(0, 99, (1, 60), generator=torch.Generator().manual_seed(1))
    exact = uneven().logits(uneven()(ids))
    off = []
    for evened in (False, True):
        model = uneven()
        if evened:
            even_keys(model)
        cache = [room_of_8_bits(1, 2, 60, 32) for _ in model.layers]
        off.append(float((model.logits(model(ids, cache=cache)) - exact).norm() / exact.norm()))
    assert off[1] < 0.2 * off[0]
