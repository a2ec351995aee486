import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.model import distil
from xgen.model.distil import Taught, distilled_cross_entropy, distilled_reference
from xgen.model.loss import cross_entropy_reference

VOCAB = 61


def inputs(n_tokens, share, dtype=torch.float64, untrained=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden, weight, told, told_weight = (
        torch.randn(n, width, generator=generator, dtype=dtype)
        for n, width in ((n_tokens, 12), (VOCAB, 12), (n_tokens, 20), (VOCAB, 20))
    )
    targets = torch.randint(0, VOCAB, (n_tokens,), generator=generator)
    targets[torch.rand(n_tokens, generator=generator) < untrained] = -1
    return hidden.requires_grad_(), weight.requires_grad_(), targets, Taught(told, told_weight, share)


@given(
    n_tokens=st.integers(1, 60),
    chunk=st.integers(1, 70),
    share=st.floats(0.01, 1.0),
    untrained=st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_law_chunks_of_any_size_equal_torch_in_fp64(n_tokens, chunk, share, untrained):
    hidden, weight, targets, taught = inputs(n_tokens, share, untrained=untrained, seed=chunk)
    expected = distilled_reference(hidden, weight, targets, taught) * 0.37
    wanted = torch.autograd.grad(expected, (hidden, weight))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil, "LOGITS", chunk * VOCAB)
        total = distilled_cross_entropy(hidden, weight, targets, taught) * 0.37
        ours = torch.autograd.grad(total, (hidden, weight))
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(ours, wanted)


def test_law_a_sure_teacher_and_the_right_token_are_one():
    """Its logits are 1,000 times the one-hot, so that whatever its share is, the loss is the plain one's."""
    hidden, weight, targets, _ = inputs(40, 0.5)
    sure = torch.nn.functional.one_hot(targets.clamp(min=0), VOCAB).double() * 1000
    taught = Taught(sure, torch.eye(VOCAB, dtype=torch.float64), 0.7)
    torch.testing.assert_close(
        distilled_cross_entropy(hidden, weight, targets, taught),
        cross_entropy_reference(hidden, weight, targets),
    )


def test_law_who_says_what_the_teacher_says_is_not_moved():
    hidden, weight, targets, _ = inputs(40, 1.0)
    taught = Taught(hidden.detach(), weight.detach(), 1.0)
    total = distilled_cross_entropy(hidden, weight, targets, taught)
    for gradient in torch.autograd.grad(total, (hidden, weight)):
        assert gradient.abs().max() < 1e-12


def test_frozen_weights_get_no_gradient_and_bf16_stays_near():
    hidden, weight, targets, taught = inputs(300, 0.5)
    exact = torch.autograd.grad(distilled_reference(hidden, weight, targets, taught), hidden)[0]
    narrow = hidden.detach().bfloat16().requires_grad_()
    told = Taught(taught.hidden_NU.bfloat16(), taught.weight_VU.bfloat16(), 0.5)
    total = distilled_cross_entropy(narrow, weight.detach().bfloat16(), targets, told)
    assert total.dtype == torch.float32
    ours = torch.autograd.grad(total, narrow)[0]
    assert ours.dtype == torch.bfloat16
    assert (ours.double() - exact).norm() / exact.norm() < 2e-2
