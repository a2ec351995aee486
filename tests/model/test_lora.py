"""Adapters against the dense weights they stand for, and as what alone is trained."""

import pytest
import torch
from torch import Tensor

from xgen.model.lora import (
    TARGETS,
    Adapter,
    LoraLinear,
    attach,
    mean,
    merged,
    new_adapter,
)
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer

SHAPE = Shape(2, 32, 48, 4, 2, 8, 64, 128, tied_head=True, qkv_bias=True)
IDS = torch.arange(7, 40)[None] % 64


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(mean=1.0 if "norm" in str(p.shape) else 0.0, std=0.2)
    return model


def filled(model: Transformer, rank: int = 4) -> Adapter:
    """An adapter that changes something."""
    fresh = new_adapter(model, rank, 2.0 * rank, seed=3)
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: (a, torch.empty_like(b).normal_(0, 0.1, generator=generator))
        for name, (a, b) in fresh.weights.items()
    }
    return Adapter(rank, 2.0 * rank, weights)


def logits(model: Transformer) -> Tensor:
    out: Tensor = model.logits(model(IDS))
    return out


def test_a_new_adapter_changes_nothing(model: Transformer) -> None:
    before = logits(model).detach()
    fresh = new_adapter(model, 4, 8.0, seed=1)
    attach(model, fresh)
    assert torch.equal(logits(model), before)
    assert len(fresh.weights) == len(TARGETS) * SHAPE.n_layers
    bounds = {name: a.abs().max() * a.shape[1] ** 0.5 for name, (a, _) in fresh.weights.items()}
    assert all(0.8 < bound <= 1 for bound in bounds.values())


def test_against_dense_weights_the_path_is_the_product(model: Transformer) -> None:
    """The sum of Hu et al. (2021), section 4.1, written out on the weights themselves."""
    adapter = filled(model)
    dense = Transformer(SHAPE)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, (a, b) in adapter.weights.items():
        state[name] += (b.double() @ a.double() * 2.0).float()
    dense.load_state_dict(state)
    attach(model, adapter)
    assert not torch.allclose(logits(model), model.logits(model(IDS.flip(1))))
    torch.testing.assert_close(logits(model), logits(dense), rtol=1e-4, atol=1e-4)


def test_only_the_adapter_is_trained_and_it_moves(model: Transformer) -> None:
    attach(model, filled(model))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * len(TARGETS) * SHAPE.n_layers
    assert all(name.endswith((".lora_a", ".lora_b")) for name in trained)
    logits(model).square().mean().backward()  # type: ignore[no-untyped-call]
    for name, p in model.named_parameters():
        assert (p.grad is not None and p.grad.abs().sum() > 0) == (name in trained)


def test_what_is_attached_is_a_copy(model: Transformer) -> None:
    adapter = filled(model)
    attach(model, adapter)
    with torch.no_grad():
        model.layers[0].q.lora_b += 1
    attached = dict(model.named_parameters())
    for name, (a, b) in adapter.weights.items():
        change = 1.0 if name == "layers.0.q.weight" else 0.0
        path = name.removesuffix(".weight")
        assert torch.equal(attached[f"{path}.lora_a"], a)
        assert torch.equal(attached[f"{path}.lora_b"], b + change)


def test_merged_weights_compute_what_the_paths_do(model: Transformer) -> None:
    adapter = filled(model)
    plain = Transformer(SHAPE)
    plain.load_state_dict({name: merged(p.detach(), name, adapter) for name, p in model.named_parameters()})
    attach(model, adapter)
    torch.testing.assert_close(logits(plain), logits(model), rtol=1e-4, atol=1e-4)


def test_a_path_beside_bf16_weights_keeps_fp32_masters(model: Transformer) -> None:
    exact = filled(model)
    attach(model, exact)
    expected = logits(model)
    half = Transformer(SHAPE)
    half.load_state_dict({n: p for n, p in model.named_parameters() if ".lora_" not in n})
    half.to(torch.bfloat16)
    attach(half, exact)
    assert {p.dtype for p in half.parameters() if p.requires_grad} == {torch.float32}
    out = logits(half)
    assert (out - expected).norm() / expected.norm() < 0.05


def test_merging_adds_in_fp32() -> None:
    """A change too small for bf16 beside the weight survives until the sum is rounded once."""
    weight = torch.full((2, 3), 1.0, dtype=torch.bfloat16)
    pair = torch.full((1, 3), 1e-3), torch.ones(2, 1)
    total = merged(weight, "w", Adapter(1, 2.0, {"w": pair}))
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, torch.full((2, 3), 1.002))
    assert merged(weight, "v", Adapter(1, 2.0, {"w": pair})) is weight


def test_the_same_seed_draws_the_same(model: Transformer) -> None:
    one, same, other = (new_adapter(model, 2, 2.0, seed) for seed in (1, 1, 2))
    name = "layers.1.down.weight"
    assert torch.equal(one.weights[name][0], same.weights[name][0])
    assert not torch.equal(one.weights[name][0], other.weights[name][0])


def test_what_has_no_place_is_refused(model: Transformer) -> None:
    adapter = filled(model)
    for name, pair in {
        "layers.2.q.weight": adapter.weights["layers.0.q.weight"],
        "layers.0.q.weight": adapter.weights["layers.0.down.weight"],
    }.items():
        with pytest.raises(ValueError, match="no place"):
            attach(model, Adapter(4, 8.0, {name: pair}))
    assert not any(isinstance(module, LoraLinear) for module in model.modules())
    with pytest.raises(ValueError, match="rank is 0"):
        new_adapter(model, 0, 1.0, seed=0)


def other(adapter: Adapter, rank: int, seed: int) -> Adapter:
    """Another adapter of the same weights, of another rank and scale."""
    drawn = torch.Generator().manual_seed(seed)
    weights = {
        name: (torch.randn(rank, a.shape[1], generator=drawn), torch.randn(len(b), rank, generator=drawn))
        for name, (a, b) in adapter.weights.items()
    }
    return Adapter(rank, 3.0, weights)


def change(adapter: Adapter, name: str) -> Tensor:
    a, b = adapter.weights[name]
    return merged(torch.zeros(len(b), a.shape[1]), name, adapter)


def test_law_the_mean_is_the_nearest_of_its_rank(model: Transformer) -> None:
    """Eckart and Young (1936): what is lost is the root of the squares of the singular values left out."""
    adapters = [filled(model), *(other(filled(model), rank, rank) for rank in (3, 5))]
    averaged = mean(adapters)
    assert (averaged.rank, averaged.alpha) == (4, 8.0)
    for name in adapters[0].weights:
        whole = torch.stack([change(each, name) for each in adapters]).mean(0)
        lost = torch.linalg.matrix_norm(whole - change(averaged, name))
        least = torch.linalg.svdvals(whole)[4:].norm()
        torch.testing.assert_close(lost, least, rtol=1e-3, atol=1e-5)
        assert averaged.weights[name][0].shape[0] == 4


def test_law_the_mean_of_one_thing_is_that_thing(model: Transformer) -> None:
    adapter = filled(model)
    for name in adapter.weights:
        torch.testing.assert_close(change(mean([adapter] * 3), name), change(adapter, name))


def test_adapters_of_different_weights_have_no_mean(model: Transformer) -> None:
    adapter = filled(model)
    fewer = Adapter(adapter.rank, adapter.alpha, dict(list(adapter.weights.items())[1:]))
    with pytest.raises(ValueError, match="same weights"):
        mean([adapter, fewer])
