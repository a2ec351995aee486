import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xgen.model import int8 as int8_module
from xgen.model.attention import attend_cpu
from xgen.model.int8 import (
    ALIGNMENT,
    FEW_ROWS,
    STEP,
    EmbeddingInt8,
    WeightInt8,
    add_int8,
    dequantised,
    quantised,
    quantised_weight,
)
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer


def weights(n_out, n_in, seed=0):
    return torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(seed))


@given(n_out=st.integers(1, 70), n_in=st.integers(1, 70), size=st.floats(1e-4, 1e4), seed=st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_law_no_weight_moves_more_than_its_step(n_out, n_in, size, seed):
    weight = weights(n_out, n_in, seed) * size
    int8, scale = quantised(weight)
    step = weight.abs().amax(1, keepdim=True) / 127
    # half a step of rounding; a scale that bf16 rounds down cuts the largest by up to another half
    assert ((int8 * scale.float()[:, None] - weight).abs() <= 1.01 * step).all()


@given(room=st.integers(1, 300), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_law_a_weight_in_parts_is_the_weight_at_once(room, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(int8_module.ROOM, "cpu", room)
        parts = quantised_weight(weights(13, 20, seed))
    assert all(torch.equal(a, b) for a, b in zip(parts, quantised(weights(13, 20, seed)), strict=True))


def test_a_row_of_zeros_stays_zero():
    int8, scale = quantised(torch.zeros(2, 8))
    assert not int8.any()
    assert scale.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@given(
    n_rows=st.integers(1, 9), n_steps=st.integers(1, 4), n_out=st.integers(1, 100), seed=st.integers(0, 999)
)
@settings(max_examples=30, deadline=None)
def test_law_few_rows_are_near_many_rows_exact(dtype, bias, n_rows, n_steps, n_out, seed):
    """Up to max_rows through 8 bits; above, bit for bit the layer it was made from."""
    n_in = n_steps * STEP
    layer = nn.Linear(n_in, n_out, bias=bias).to(dtype)
    ours = WeightInt8(*quantised(layer.weight.detach()), layer.bias, max_rows=4, weight=layer.weight)
    x = weights(n_rows, n_in, seed).to(dtype)[None]
    out, expected = ours(x), layer(x)
    assert out.dtype == dtype
    if n_rows > 4:
        assert torch.equal(out, expected)
    else:
        assert (out - expected).float().norm() < 0.01 * (x.float().norm() * layer.weight.float().norm() + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@given(
    n_rows=st.integers(1, 2 * FEW_ROWS),
    n_in=st.sampled_from([1, 31, 32, 33, 64, 96]),
    n_out=st.integers(1, 100),
    room=st.sampled_from([1, 64, 1000, 1 << 22]),
    seed=st.integers(0, 999),
)
@settings(max_examples=30, deadline=None)
def test_law_8_bits_alone_are_the_product_of_what_they_stand_for(dtype, n_rows, n_in, n_out, room, seed):
    """However many rows, whatever width, in however many parts; against the product in float64."""
    int8, scale = quantised(weights(n_out, n_in, seed))
    bias = nn.Parameter(weights(1, n_out, seed)[0].to(dtype), requires_grad=False)
    x = weights(n_rows, n_in, seed + 1).to(dtype)[None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(int8_module.ROOM, "cpu", room)
        out = WeightInt8(int8, scale, bias)(x)
    assert out.dtype == dtype
    standing = int8.double() * scale.double()[:, None]
    expected = x.double() @ standing.T + bias.double()
    # roundings to bf16: of few rows' activations or of many rows' weights, and of results once or twice
    noise = 2**-7 * (x.double().abs() @ standing.abs().T + expected.abs())
    assert ((out.double() - expected).abs() <= noise + 1e-5).all()


def test_8_bits_alone_keep_no_other_form():
    ours = WeightInt8(*quantised(weights(64, 64)))
    ours(weights(40, 64))
    assert not list(ours.parameters())
    assert sum(b.nbytes for b in ours.buffers()) == 64 * 64 + 64 * 4 + 64 * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_embedding_gives_the_rows_it_stands_for(dtype):
    int8, scale = quantised(weights(50, 24))
    ids = torch.tensor([[3, 3, 49]])
    rows = EmbeddingInt8(int8, scale, dtype)(ids)
    assert torch.equal(rows, (int8.float() * scale.float()[:, None]).to(dtype)[ids])
    assert torch.equal(rows, dequantised(int8, scale.float(), dtype)[ids])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_gpu_multiplies_by_the_same_8_bits(dtype):
    int8, scale = quantised(weights(300, 200) * 1e-3)
    x = 100 * weights(7, 200)
    out = WeightInt8(int8.cuda(), scale.cuda())(x.to("cuda", dtype)).cpu()
    expected = x.to(dtype).double() @ (int8.double() * scale.double()[:, None]).T
    assert ((out.double() - expected).norm() / expected.norm()) < 0.01


@pytest.mark.parametrize("tied", [True, False])
@torch.inference_mode()
def test_a_model_with_8_bits_is_near_itself_and_shares_its_weights(tied, matrices_in_8_bits):
    torch.manual_seed(0)
    shape = Shape(2, 128, 160, 4, 2, 32, 211, 8192, 1e6, 1e-6, tied, True)
    model = Transformer(shape, attend_cpu).eval()
    ids = torch.randint(0, 211, (1, 4))
    many = torch.randint(0, 211, (1, 9))
    before, before_many = model.logits(model(ids)), model.logits(model(many))
    places = {p.data_ptr() for p in model.parameters()}
    add_int8(model, matrices_in_8_bits(model), 4)
    assert {p.data_ptr() for p in model.parameters()} == places
    assert torch.equal(model.logits(model(many)), before_many)
    after = model.logits(model(ids))
    assert 0 < (after - before).norm() / before.norm() < 0.02
    assert isinstance(model.head, WeightInt8)


@torch.inference_mode()
def test_odd_widths_are_left_alone(matrices_in_8_bits):
    """The kernel would read what lies behind the weights."""
    model = Transformer(Shape(1, 48, 64, 3, 1, 16, 99, 8192, tied_head=True), attend_cpu).eval()
    add_int8(model, matrices_in_8_bits(model), 4)
    kinds = {name for name, module in model.named_modules() if isinstance(module, WeightInt8)}
    assert kinds == {"layers.0.down"}
    assert model.head is None


def test_8_bits_of_another_model_are_refused(matrices_in_8_bits):
    small, large = (Transformer(Shape(1, 64, 64, 2, 1, 32, n, 8192, tied_head=True)) for n in (99, 120))
    with pytest.raises(ValueError, match="the 8-bit weights of embedding have another shape"):
        add_int8(large, matrices_in_8_bits(small), 4)


@pytest.mark.parametrize("offset", [0, 1, 8, 16])
def test_weights_may_begin_anywhere(offset):
    """Mapped from a file they do; the kernel would end the process."""
    int8, scale = quantised(weights(48, 64))
    memory = torch.zeros(offset + int8.numel() + 64, dtype=torch.int8)
    moved = memory[offset : offset + int8.numel()].view(int8.shape)
    moved.copy_(int8)
    x = weights(2, 64)
    ours = WeightInt8(moved, scale)
    assert torch.equal(ours(x), WeightInt8(int8, scale)(x))
    assert (ours.int8_NK.data_ptr() == moved.data_ptr()) == (moved.data_ptr() % ALIGNMENT == 0)


@torch.inference_mode()
def test_8_bits_alone_give_their_likeliest_logits_in_fp32_and_keep_the_stream_so(matrices_in_8_bits):
    """Against the same 8 bits multiplied in float64; in bf16 the largest would be off by up to 2^-9."""
    torch.manual_seed(0)
    model = Transformer(Shape(2, 128, 160, 4, 2, 32, 211, 8192, tied_head=True), attend_cpu).bfloat16().eval()
    add_int8(model, matrices_in_8_bits(model), FEW_ROWS, alone=True)
    assert model.dtype == torch.bfloat16
    for n_tokens in (1, 5, 40):
        hidden = model(torch.randint(0, 211, (1, n_tokens)))
        assert hidden.dtype == model.embedding(torch.tensor(0)).dtype == torch.float32
        expected = hidden.double() @ model.head.dense().double().T
        likeliest = expected.topk(20).indices
        ours = model.logits(hidden)
        assert ours.dtype == torch.float32
        torch.testing.assert_close(
            ours.gather(-1, likeliest), expected.gather(-1, likeliest).float(), rtol=1e-5, atol=1e-4
        )
        assert (ours - expected).abs().max() < 2**-7 * expected.abs().max()
