"""Weights in layers of 4 bits beside what the library gguf says that files of many types hold."""

import pytest
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.model import int4
from xgen.model.attention import attend_cpu
from xgen.model.int4 import GROUP, LONGEST, TOLERANCE, WeightInt4, add_int4, packed_weight, product
from xgen.model.keys_values import even_keys
from xgen.model.shape import SHAPES
from xgen.model.transformer import Transformer


def of_file(kind, n_out, n_in, seed=0):
    """What a GGUF file of this type holds of random weights, in bf16 as it is imported."""
    weight = torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(seed)).numpy()
    quantised_type = GGMLQuantizationType[kind]
    return torch.from_numpy(dequantize(quantize(weight, quantised_type), quantised_type)).bfloat16()


def meant(packed, groups, n_in):
    """The weights [N, K] that the kernel multiplies by, read off its products with unit rows."""
    rows = [product(torch.eye(n_in)[i : i + 1].bfloat16(), packed, groups) for i in range(n_in)]
    return torch.cat(rows).float().t()


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1"])
@given(n_groups=st.integers(1, 4), n_outs=st.integers(1, 9), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_law_weights_of_4_bit_files_are_found_again(kind, n_groups, n_outs, seed):
    weight = of_file(kind, 16 * n_outs, GROUP * n_groups, seed)
    found = meant(*packed_weight(weight), GROUP * n_groups)
    # beside the tolerance: the kernel gives bf16
    assert (found - weight.float()).norm() <= (TOLERANCE + 0.003) * weight.float().norm()


@given(steps=st.integers(8, 15), size=st.floats(1e-4, 10), level=st.floats(-20, 20), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_law_groups_that_do_not_use_all_values_are_found_too(steps, size, level, seed):
    """Such as K-quants have: the extremes of a group are not always 0 and 15."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, steps + 1, (16, 2, GROUP), generator=generator)
    values[..., 0], values[..., 1] = 0, steps
    weight = ((values + level) * size).flatten(1)
    found = packed_weight(weight)
    assert (meant(*found, 2 * GROUP) - weight).norm() <= (TOLERANCE + 0.003) * weight.norm()


@pytest.mark.parametrize("kind", ["Q5_0", "Q5_1", "Q8_0", "F16"])
@given(n_groups=st.integers(1, 4), n_outs=st.integers(1, 9), seed=st.integers(0, 999))
@settings(max_examples=8, deadline=None)
def test_law_weights_of_more_bits_are_two_layers(kind, n_groups, n_outs, seed):
    """As near as steps for each 32 allow, half a step at most but for the rounding of step and product."""
    weight = of_file(kind, 16 * n_outs, GROUP * n_groups, seed)
    packed, groups = packed_weight(weight)
    assert (packed.shape[1], len(groups)) == (weight.shape[1], 2 * n_groups)
    found, exact = meant(packed, groups, GROUP * n_groups), weight.float()
    largest = exact.unflatten(1, (n_groups, GROUP)).abs().amax(-1, keepdim=True)
    far = (found - exact).unflatten(1, (n_groups, GROUP)).abs()
    assert (far <= largest * (0.5 / 127 + 0.006)).all()
    assert far.square().sum() ** 0.5 <= 0.01 * exact.norm()


def test_rows_of_more_bits_that_are_long_are_left_alone():
    assert packed_weight(of_file("Q8_0", 16, LONGEST + GROUP)) is None
    assert packed_weight(of_file("Q4_0", 16, LONGEST + GROUP)) is not None


def test_one_weight_that_is_off_is_noticed():
    weight = of_file("Q4_1", 64, 96)
    assert packed_weight(weight)[0].shape[1] == 48
    weight[40, 50] += 0.12  # steps are about 0.27
    assert packed_weight(weight)[0].shape[1] == 96


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_parts_are_the_whole(kind, monkeypatch):
    weight = of_file(kind, 144, 64)
    whole = packed_weight(weight)
    monkeypatch.setattr(int4, "PART", 64)
    assert all(torch.equal(a, b) for a, b in zip(whole, packed_weight(weight), strict=True))


def test_a_torch_that_packs_otherwise_is_noticed(monkeypatch):
    original = int4.product
    monkeypatch.setattr(int4, "product", lambda *words: original(*words).flip(-1))
    assert packed_weight(of_file("Q4_1", 64, 64)) is None


@pytest.mark.parametrize("size", [(17, 64), (16, 48), (8, 32)])
def test_sizes_that_the_kernel_does_not_take_are_left_alone(size):
    padded = of_file("Q4_0", 32, 64)
    assert packed_weight(padded[: size[0], : size[1]]) is None


def test_equal_weights_and_zeros():
    weight = torch.cat((torch.zeros(16, GROUP), torch.full((16, GROUP), -3.0)), 1)
    assert torch.equal(meant(*packed_weight(weight), 2 * GROUP), weight)


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@given(
    n_rows=st.integers(1, 9), n_groups=st.integers(1, 3), n_outs=st.integers(1, 7), seed=st.integers(0, 99)
)
@settings(max_examples=15, deadline=None)
def test_law_few_rows_are_near_many_rows_exact(kind, dtype, bias, n_rows, n_groups, n_outs, seed):
    weight = of_file(kind, 16 * n_outs, GROUP * n_groups, seed).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias, dtype=dtype).requires_grad_(False)
    layer.weight.copy_(weight)
    x = torch.randn(2, n_rows, weight.shape[1], generator=generator).to(dtype)
    few = WeightInt4(*packed_weight(weight), layer.weight, layer.bias, max_rows=6)
    ours, exact = few(x), layer(x)
    assert (ours.dtype, ours.shape) == (dtype, exact.shape)
    if 2 * n_rows > 6:
        assert torch.equal(ours, exact)
    else:
        assert (ours - exact).norm() <= 0.02 * exact.norm()


def test_a_model_is_given_what_fits_it():
    model = Transformer(SHAPES["tiny"], attend_cpu)
    layer = model.layers[0]
    with torch.no_grad():
        layer.up.weight.copy_(of_file("Q4_1", *layer.up.weight.shape))
    packed, groups = packed_weight(layer.up.weight)
    with pytest.raises(ValueError, match="up have another shape"):
        add_int4(model, {"layers.0.up.packed": packed[:-1], "layers.0.up.groups": groups}, 4)
    add_int4(model, {"layers.0.up.packed": packed, "layers.0.up.groups": groups}, 4)
    assert type(layer.up) is WeightInt4
    assert type(layer.gate) is type(model.layers[1].up) is torch.nn.Linear


def test_keys_are_evened_and_nothing_else_changes():
    torch.manual_seed(0)
    model = Transformer(SHAPES["tiny"], attend_cpu).eval().requires_grad_(False)
    layer = model.layers[0]
    for one in (layer.q, layer.k):
        one.weight.copy_(of_file("Q4_0", *one.weight.shape) * 0.1)
        one.weight[3] *= 64
    pairs = {name: packed_weight(getattr(layer, name).weight) for name in "qk"}
    weights = {f"layers.0.{name}.packed": pair[0] for name, pair in pairs.items()}
    add_int4(model, weights | {f"layers.0.{name}.groups": pair[1] for name, pair in pairs.items()}, 4)
    for n_tokens in (3, 9):
        ids = torch.arange(n_tokens)[None]
        before, keys = model.logits(model(ids)), layer.k(model.embedding(ids))
        even_keys(model)
        assert type(layer.q) is type(layer.k) is WeightInt4
        assert (model.logits(model(ids)) - before).norm() <= 1e-4 * before.norm()
        assert not torch.equal(layer.k(model.embedding(ids)), keys) or n_tokens == 9
