"""The kernels' own lines, run on the CPU (device_on_cpu.h), against the model's written-out pass."""

import pytest
import torch
from torch import nn

from xgen.engine.cache import Cache
from xgen.engine.one_token import OneToken, Tuning, defines_of, serves, unserved
from xgen.model.attention import attend_reference
from xgen.model.int8 import add_int8, dequantised, quantised
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer

SMALL = Tuning(64, 3, 1)
PLAIN = Shape(2, 64, 160, 4, 4, 64, 512, 128)
SHAPES = {
    "as many keys as queries": PLAIN,
    "grouped, biases, tied": Shape(2, 80, 176, 6, 2, 32, 301, 128, 1e6, 1e-6, True, True),
    "seven share, heads of 128": Shape(1, 144, 48, 7, 1, 128, 96, 128),
}


def random_model(shape: Shape, dtype: torch.dtype) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(shape, attend_reference).eval().requires_grad_(False)
    for name, p in model.named_parameters():
        p.normal_(std=1.5 * p.shape[-1] ** -0.5 if p.ndim == 2 else 0.3)
        p.add_(1.0 if "norm" in name else 0.0)
    return model.to(dtype)


def filled(model: Transformer, ids: list[int], capacity: int, dtype: torch.dtype) -> Cache:
    """A cache that has read `ids`, its numbers in `dtype`."""
    shape = model.shape
    size = (1, shape.n_kv_heads, capacity, shape.head_dim)
    cache = Cache([(torch.full(size, 9.0), torch.full(size, 9.0)) for _ in range(shape.n_layers)])
    model.float()(torch.tensor([ids]), cache=cache.buffers)
    cache.length = len(ids)
    cache.buffers = [(k.to(dtype), v.to(dtype)) for k, v in cache.buffers]
    return cache


@pytest.mark.parametrize(
    ("name", "dtype"), list(zip(SHAPES, (torch.bfloat16, torch.float16, torch.bfloat16), strict=True))
)
def test_against_the_written_out_pass(name, dtype, on_cpu):
    shape = SHAPES[name]
    model, ids = random_model(shape, dtype), [i * 37 % shape.vocab_size for i in range(75)]
    cache = filled(random_model(shape, dtype), ids, 90, dtype)
    assert serves(model, cache)
    defines = defines_of(model, cache, SMALL)
    step = OneToken(model, cache, (on_cpu("products", defines), on_cpu("step", defines)), defines, 3)
    precise = random_model(shape, dtype).float()
    buffers = [(k.float(), v.float()) for k, v in cache.buffers]
    token, position = 5, len(ids)
    step.state[0], step.state[1] = token, position
    for _ in range(2):
        hidden = precise(torch.tensor([[token]]), cache=buffers, start=position)
        buffers = [(k.to(dtype).float(), v.to(dtype).float()) for k, v in buffers]
        expected = precise.logits(hidden[0, 0])
        step.run()
        assert (step.logits - expected).norm() < 0.01 * expected.norm()
        token, position = int(expected.argmax()), position + 1
        assert step.state.tolist() == [token, position]
        assert step.said[position] == token
    for ours, theirs in zip(cache.buffers, buffers, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one.float() - other).norm() < 0.01 * other.norm()


@pytest.mark.parametrize(
    ("shape", "dtype", "kept", "why"),
    [
        (PLAIN, torch.float32, torch.float32, "not in fp32"),
        (PLAIN, torch.bfloat16, torch.float16, "keys and values are in fp16 beside bf16"),
        (Shape(1, 72, 160, 4, 4, 16, 512, 128), torch.float16, torch.int8, "widths of 72 and 160"),
        (Shape(1, 80, 160, 2, 2, 40, 512, 128), torch.float16, torch.int8, "heads are 40 wide"),
    ],
)
def test_what_the_kernels_do_not_serve_is_said_once(shape, dtype, kept, why, capsys):
    model = random_model(shape, dtype)
    cache = Cache.empty(model, 9, kept)
    assert why in unserved(model, cache)
    assert not serves(model, cache)
    assert not serves(model, cache)
    assert capsys.readouterr().err.count("the GPU is used by torch alone") == 1


@pytest.mark.parametrize("cut", [SMALL, Tuning(64, 2, 1, 4, 3), Tuning(64, 2, 1, 8, 1)])
def test_int8_against_the_dequantised(cut, on_cpu):
    shape = SHAPES["grouped, biases, tied"]
    model, precise = random_model(shape, torch.bfloat16), random_model(shape, torch.bfloat16).float()
    maps = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)}
    pairs = {name: quantised(one.weight) for name, one in maps.items()}
    weights = {f"{n}.int8": int8 for n, (int8, _) in pairs.items()}
    weights |= {f"{n}.scale": scale for n, (_, scale) in pairs.items()}
    add_int8(model, weights, alone=True)
    for name, (int8, scale) in pairs.items():
        precise.get_submodule(name).weight.copy_(dequantised(int8, scale.float(), torch.float32))
    ids = [i * 37 % shape.vocab_size for i in range(75)]
    dense = filled(random_model(shape, torch.bfloat16), ids, 90, torch.float32)
    cache = Cache([], len(ids))
    for i, (k, v) in enumerate(dense.buffers):
        (k8, ks), (v8, vs) = quantised(k, torch.float32), quantised(v, torch.float32)
        cache.buffers.append((k8, v8, ks, vs))
        dense.buffers[i] = dequantised(k8, ks, torch.float32), dequantised(v8, vs, torch.float32)
    defines = defines_of(model, cache, cut)
    step = OneToken(model, cache, (on_cpu("products", defines), on_cpu("step", defines)), defines, 3)
    step.state[0], step.state[1] = 5, 75
    step.run()
    expected = precise.logits(precise(torch.tensor([[5]]), cache=dense.buffers, start=75)[0, 0])
    assert (step.logits - expected).norm() < 0.01 * expected.norm()
