"""The kernels' own lines, run on the CPU (device_on_cpu.h), against the model's written-out pass."""

import pytest
import torch
from torch import nn

from xgen.engine.cache import Cache
from xgen.engine.many_tokens import ManyTokens
from xgen.engine.one_token import defines_of, tuning_for
from xgen.errors import XgenError
from xgen.model.attention import attend_reference
from xgen.model.int8 import Int8Rows, add_int8, quantised
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer


def room(shape: Shape, capacity: int, dtype: torch.dtype) -> Cache:
    size = (2, 1, shape.n_kv_heads, capacity, shape.head_dim)
    return Cache([tuple(torch.zeros(size, dtype=dtype)) for _ in range(shape.n_layers)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_against_the_written_out_pass_whole_and_in_chunks(dtype, on_cpu, monkeypatch):
    monkeypatch.setattr("xgen.engine.many_tokens.MOST_ROWS", 24)
    monkeypatch.setattr("xgen.engine.many_tokens.FFN_ROWS", 16)
    torch.manual_seed(0)
    shape = Shape(2, 80, 176, 6, 2, 32, 301, 128, 1e6, 1e-6, True, True)
    model = Transformer(shape, attend_reference).eval().requires_grad_(False)
    for name, p in model.named_parameters():
        p.normal_(std=p.shape[-1] ** -0.5 if p.ndim == 2 else 0.3).add_(1.0 if "norm" in name else 0.0)
    model.to(dtype)
    ids, cache, told = [i * 37 % 301 for i in range(61)], room(shape, 70, dtype), []
    kernels = on_cpu("rows", defines_of(model, cache, tuning_for(model, 0)))
    logits = ManyTokens(model, kernels).read(model, cache, ids, told.append)
    model.float()
    buffers = room(shape, 70, torch.float32).buffers
    expected = model.logits(model(torch.tensor([ids]), cache=buffers)[0, -1])
    assert (logits - expected).norm() < 0.03 * expected.norm()
    assert (cache.length, told) == (61, [24, 24, 13])
    for ours, theirs in zip(cache.buffers, buffers, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one.float() - other).norm() < 0.02 * other.norm()


def test_int8_leaves_what_the_written_out_pass_leaves(on_cpu, monkeypatch):
    monkeypatch.setattr("xgen.engine.many_tokens.MOST_ROWS", 24)
    torch.manual_seed(0)
    shape = Shape(2, 96, 160, 6, 2, 32, 301, 128, qkv_bias=True)
    model = Transformer(shape, attend_reference).eval().requires_grad_(False)
    for name, p in model.named_parameters():
        p.normal_(std=p.shape[-1] ** -0.5 if p.ndim == 2 else 0.3).add_(1.0 if "norm" in name else 0.0)
    weights = {}
    for name, one in model.named_modules():
        if isinstance(one, nn.Linear | nn.Embedding):
            weights[f"{name}.int8"], weights[f"{name}.scale"] = quantised(one.weight)
    model.to(torch.bfloat16)
    add_int8(model, weights, max_rows=0, alone=True)
    ids, cache = [i * 37 % 301 for i in range(61)], Cache.empty(model, 70, torch.int8)
    logits = ManyTokens(model, on_cpu("rows", defines_of(model, cache, tuning_for(model, 0)))).read(
        model, cache, ids, lambda n: None
    )
    other = Cache.empty(model, 70, torch.int8)
    expected = model.logits(model(torch.tensor([ids]), cache=other.buffers)[0, -1])
    assert (logits - expected).norm() < 0.03 * expected.norm()
    for ours, theirs in zip(cache.buffers, other.buffers, strict=True):
        dense = [Int8Rows(*pair).dense(torch.float32) for pair in zip(ours[:2], ours[2:], strict=True)]
        others = [Int8Rows(*pair).dense(torch.float32) for pair in zip(theirs[:2], theirs[2:], strict=True)]
        for one, another in zip(dense, others, strict=True):
            assert (one - another).norm() < 0.03 * another.norm()


def test_a_pass_that_finds_no_memory_is_made_smaller_until_it_is_the_least(on_cpu, monkeypatch):
    monkeypatch.setattr("xgen.engine.many_tokens.LEAST_ROWS", 8)
    torch.manual_seed(0)
    shape = Shape(2, 64, 160, 4, 2, 32, 301, 128)
    model = Transformer(shape, attend_reference).eval().requires_grad_(False).to(torch.bfloat16)
    cache, ids, told = room(shape, 70, torch.bfloat16), [i * 37 % 301 for i in range(61)], []
    reader = ManyTokens(model, on_cpu("rows", defines_of(model, cache, tuning_for(model, 0))))
    plenty = reader.read(model, room(shape, 70, torch.bfloat16), ids, lambda n: None)
    whole_pass, most = ManyTokens._pass, 20

    def scarce(self, model, cache, ids_T):
        if len(ids_T) > most:
            whole_pass(self, model, cache, ids_T)  # as far as it came, it has written
            raise torch.OutOfMemoryError
        return whole_pass(self, model, cache, ids_T)

    monkeypatch.setattr(ManyTokens, "_pass", scarce)
    logits = reader.read(model, cache, ids, told.append)
    assert told == [15, 15, 15, 15, 1]
    assert (logits - plenty).norm() < 0.03 * plenty.norm()
    most = 4
    with pytest.raises(
        XgenError, match=r"memory of cpu: a pass over [0-9]+ tokens finds no room, .* free on cpu by now; "
    ):
        reader.read(model, room(shape, 70, torch.bfloat16), ids, told.append)
