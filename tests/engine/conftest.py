import pytest
import torch

from xgen.model.attention import attend_cpu
from xgen.model.shape import SHAPES
from xgen.model.transformer import Transformer


@pytest.fixture(scope="session")
def model():
    """A tiny decoder with weights large enough that every token matters."""
    torch.manual_seed(0)
    model = Transformer(SHAPES["tiny"], attend_cpu).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.normal_(std=1.5 * p.shape[-1] ** -0.5)
        model.embedding.weight.normal_()
    return model
