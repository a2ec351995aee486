import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy as torch_cross_entropy

from xgen.model.loss import cross_entropy, cross_entropy_reference, token_losses


def inputs(n_tokens, width=24, vocab=101, dtype=torch.float32, seed=0, untrained=0.3):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n_tokens, width, generator=generator).to(dtype)
    weight = torch.randn(vocab, width, generator=generator).to(dtype)
    targets = torch.randint(0, vocab, (n_tokens,), generator=generator)
    targets[torch.rand(n_tokens, generator=generator) < untrained] = -1
    return hidden.requires_grad_(), weight.requires_grad_(), targets


@given(n_tokens=st.integers(1, 90), chunk=st.integers(1, 100), untrained=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_law_chunks_of_any_size_equal_torch_in_fp64(n_tokens, chunk, untrained):
    hidden, weight, targets = inputs(n_tokens, dtype=torch.float64, seed=chunk, untrained=untrained)
    logits = hidden @ weight.t()
    expected = torch_cross_entropy(logits, targets, ignore_index=-1, reduction="sum") * 0.37
    wanted = torch.autograd.grad(expected, (hidden, weight))
    total = cross_entropy(hidden, weight, targets, chunk) * 0.37
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(torch.autograd.grad(total, (hidden, weight)), wanted)
    each = token_losses(hidden, weight, targets, chunk)
    torch.testing.assert_close(each, torch_cross_entropy(logits, targets, ignore_index=-1, reduction="none"))


def test_the_reference_is_torch_s():
    hidden, weight, targets = inputs(40)
    expected = torch_cross_entropy(hidden @ weight.t(), targets, ignore_index=-1, reduction="sum")
    torch.testing.assert_close(cross_entropy_reference(hidden, weight, targets), expected)


def test_bf16_stays_near_fp64():
    """The gradient of the head sums over many chunks: in bf16 alone it would stand still."""
    hidden, weight, targets = inputs(4096, dtype=torch.bfloat16)
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    expected = cross_entropy_reference(*exact, targets)
    wanted = torch.autograd.grad(expected, exact)
    total = cross_entropy(hidden, weight, targets, 16)
    assert total.dtype == torch.float32
    assert abs(total / expected - 1) < 1e-3
    for ours, theirs in zip(torch.autograd.grad(total, (hidden, weight)), wanted, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours.double() - theirs).norm() / theirs.norm() < 1e-2


def test_a_tied_head_gets_the_gradients_of_both_its_uses():
    _, weight, targets = inputs(30)
    ids = torch.arange(30) % 101
    gradients = []
    for form in (cross_entropy, cross_entropy_reference):
        (gradient,) = torch.autograd.grad(form(weight[ids].tanh(), weight, targets), weight)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("frozen", ["hidden", "weight", "both"])
def test_what_is_frozen_gets_no_gradient(frozen):
    hidden, weight, targets = inputs(30)
    expected = cross_entropy_reference(hidden, weight, targets)
    hidden.requires_grad_(frozen == "weight")
    weight.requires_grad_(frozen == "hidden")
    total = cross_entropy(hidden, weight, targets, 7)
    torch.testing.assert_close(total, expected.detach(), check_stride=False)
    assert total.requires_grad == (frozen != "both")
    if frozen != "both":
        total.backward()
        assert (hidden.grad is None) == (frozen == "hidden")
        assert (weight.grad is None) == (frozen == "weight")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("vocab", [1009, 49_152])
def test_gpu_form_against_fp64(vocab):
    hidden, weight, targets = inputs(3000, 64, vocab, torch.bfloat16)
    weight = weight.detach() / 8  # logits of about 1: larger ones are worth less in bf16
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    expected = cross_entropy_reference(*exact, targets)
    wanted = torch.autograd.grad(expected, exact)
    on_gpu = [x.detach().cuda().requires_grad_() for x in (hidden, weight)]
    total = cross_entropy(*on_gpu, targets.cuda(), 1024)
    assert abs(total.item() / expected.item() - 1) < 1e-3
    for ours, theirs in zip(torch.autograd.grad(total, on_gpu), wanted, strict=True):
        assert (ours.cpu().double() - theirs).norm() / theirs.norm() < 1e-2
