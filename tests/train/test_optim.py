"""Flat weights and the held-back AdamW, against torch's plain one over the model's own parameters."""

import copy

import pytest
import torch

from xgen.model.shape import Shape
from xgen.model.transformer import Transformer
from xgen.train.optim import AdamW
from xgen.train.recipe import Optimizer
from xgen.train.weights import Weights

SHAPE = Shape(2, 24, 40, 3, 1, 8, 50, 64, tied_head=True, qkv_bias=True)
SETTINGS = Optimizer((0.9, 0.95), 1e-8, 0.1, 1.0, 6.0, 128)
YES, NO = torch.tensor(True), torch.tensor(False)


def backward(model: Transformer, seed: int) -> None:
    ids = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(seed))
    hidden = model(ids)
    model.logits(hidden).float().logsumexp(-1).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_against_torch_adamw_over_separate_parameters(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = Transformer(SHAPE)
    theirs = copy.deepcopy(ours)
    weights = Weights(ours, dtype)
    optimizer = AdamW(weights, SETTINGS)
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    plain = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    for seed in range(4):
        weights.zero_gradients()
        backward(ours, seed)
        weights.take_gradients(first=True)
        norm = weights.squared_grad_norm().sqrt()
        optimizer.step(torch.tensor(0.01), norm, YES)
        weights.publish()
        if dtype is torch.float32:
            plain.zero_grad()
            backward(theirs, seed)
            clipped = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
            torch.testing.assert_close(norm, clipped)
            plain.step()
    if dtype is torch.float32:
        masters = dict(weights.whole())
        for name, parameter in theirs.named_parameters():
            torch.testing.assert_close(masters[name], parameter.detach(), rtol=1e-4, atol=1e-6)
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, dict(weights.whole())[name].to(dtype))


def test_a_step_that_is_not_accepted_changes_no_bit() -> None:
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    weights = Weights(model, torch.float32)
    optimizer = AdamW(weights, SETTINGS)
    backward(model, 1)
    optimizer.step(torch.tensor(0.01), weights.squared_grad_norm().sqrt(), YES)
    moments = [tensor for groups in optimizer.moments().values() for group in groups for tensor in group]
    state = [*weights.masters[0], *weights.masters[1], *optimizer.counts(), *moments]
    before = [tensor.clone() for tensor in state]
    for bad in (1.0, float("nan"), float("inf")):
        weights.gradients[0][0].fill_(bad)
        optimizer.step(torch.tensor(0.5), weights.squared_grad_norm().sqrt(), NO)
        assert all(torch.equal(now, then) for now, then in zip(state, before, strict=True))
    weights.zero_gradients()
    backward(model, 2)
    optimizer.step(torch.tensor(0.01), weights.squared_grad_norm().sqrt(), YES)
    assert not torch.equal(weights.masters[0][0], before[0])


def test_fp32_masters_are_not_rounded_by_what_computes() -> None:
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    exact = {name: p.detach().clone() for name, p in model.named_parameters()}
    weights = Weights(model, torch.bfloat16)
    assert all(torch.equal(master, exact[name]) for name, master in weights.whole())
    assert all(p.dtype is torch.bfloat16 for p in model.parameters())


def test_frozen_parameters_are_left_out() -> None:
    model = Transformer(SHAPE)
    model.embedding.requires_grad_(False)
    weights = Weights(model, torch.float32)
    assert "embedding.weight" not in dict(weights.whole())
