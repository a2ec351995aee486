import pytest

from xgen.model.shape import SHAPES


def test_xgen_7b_counts_as_published():
    # the published fp32 shards add up to 27,582,808,064 bytes
    shape = SHAPES["xgen-7b"]
    assert shape.n_parameters == 6_895_702_016
    assert shape.weight_bytes(4) == 27_582_808_064
    assert shape.cache_bytes(8192) == 4 * 2**30


@pytest.mark.parametrize(("name", "n_parameters"), [("smollm2", 134_515_008), ("qwen-0.5b", 494_032_768)])
def test_strangers_count_as_published(name, n_parameters):
    assert SHAPES[name].n_parameters == n_parameters


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_against_the_module_itself(name):
    import torch

    from xgen.model.transformer import Transformer

    with torch.device("meta"):
        model = Transformer(SHAPES[name])
    assert sum(p.numel() for p in model.parameters()) == SHAPES[name].n_parameters


def test_against_torch_flop_counter():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from xgen.model.transformer import Transformer

    shape, n = SHAPES["tiny"], 32
    model = Transformer(shape)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.logits(model(torch.zeros(1, n, dtype=torch.long)))
    # the written-out attention computes the whole square, the formula what is seen
    square = n * shape.flops_per_token(n - 1)
    assert counter.get_total_flops() == square
    assert sum(shape.flops_per_token(i) for i in range(n)) < square
