import pytest
import torch

from xgen.formats.folder import save_weights, write_config
from xgen.model.attention import attend_cpu, attend_reference
from xgen.model.shape import RopeScaling, Shape
from xgen.model.transformer import Transformer

CASES = {
    "multi-head": Shape(2, 96, 128, 6, 6, 16, 211, 8192),
    "grouped, tied": Shape(2, 96, 128, 6, 2, 16, 211, 8192, rope_theta=1e5, norm_eps=1e-5, tied_head=True),
    "seven a group, biases, tied": Shape(2, 112, 128, 14, 2, 8, 211, 8192, 1e6, 1e-6, True, True),
    "biases, untied": Shape(1, 64, 96, 4, 1, 16, 211, 8192, 1e6, 1e-6, False, True),
    "linear": Shape(2, 96, 128, 6, 2, 16, 211, 8192, rope_scaling=RopeScaling(4.0)),
    "llama3": Shape(2, 96, 128, 6, 2, 64, 211, 8192, 5e5, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 1024)),
}


def ours(shape, attend=attend_reference, seed=0):
    """Random weights so large that a wrong rotation, mask or head order changes the logits at once."""
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(shape, attend)
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 1.0 if "norm" in name or name.startswith("embedding") else 2.5 * p.shape[-1] ** -0.5
            p.copy_(torch.randn(p.shape, generator=generator) * scale + ("norm" in name))
    return model.eval()


@pytest.fixture
def theirs(tmp_path):
    """The same weights as transformers computes them, from a folder that we write."""
    transformers = pytest.importorskip("transformers")

    def load(model):
        write_config(tmp_path, model.shape)
        save_weights(tmp_path, model.shape, model.state_dict(), torch.float32)
        options = {"dtype": torch.float32, "attn_implementation": "eager", "local_files_only": True}
        return transformers.AutoModelForCausalLM.from_pretrained(tmp_path, **options).eval()

    return load


@pytest.mark.parametrize("case", sorted(CASES))
@torch.inference_mode()
def test_against_transformers(case, theirs):
    model = ours(CASES[case])
    ids = torch.randint(0, 211, (2, 77), generator=torch.Generator().manual_seed(1))
    expected = theirs(model)(ids).logits
    assert expected.std() > 0.5
    torch.testing.assert_close(model.logits(model(ids)), expected, atol=5e-4, rtol=5e-4)


@pytest.mark.parametrize("case", ["grouped, tied", "seven a group, biases, tied", "linear", "llama3"])
@torch.inference_mode()
def test_against_transformers_to_position_8191(case, theirs):
    model = ours(CASES[case])
    ids = torch.randint(0, 211, (1, 24), generator=torch.Generator().manual_seed(2))
    positions = torch.arange(8191 - 23, 8192)
    expected = theirs(model)(ids, position_ids=positions[None]).logits
    # at 8,191 fp32 angles are good to about 5e-4
    torch.testing.assert_close(model.logits(model(ids, positions)), expected, atol=5e-3, rtol=5e-3)


@torch.inference_mode()
def test_law_rotary_is_relative():
    model = ours(CASES["multi-head"])
    ids = torch.randint(0, 211, (1, 40), generator=torch.Generator().manual_seed(3))
    here = model(ids)
    there = model(ids, torch.arange(1000, 1040))
    torch.testing.assert_close(here, there, atol=2e-3, rtol=2e-3)


@torch.inference_mode()
def test_law_no_token_sees_the_future():
    model = ours(CASES["grouped, tied"], attend_cpu)
    ids = torch.randint(0, 211, (1, 30), generator=torch.Generator().manual_seed(4))
    changed = ids.clone()
    changed[0, 20:] = (changed[0, 20:] + 1) % 211
    torch.testing.assert_close(model(ids)[:, :20], model(changed)[:, :20], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(ids)[:, 20:], model(changed)[:, 20:], atol=0.1)


@pytest.mark.parametrize("attend", [attend_reference, attend_cpu])
@torch.inference_mode()
def test_law_rows_with_masks_and_positions_of_their_own_equal_each_alone(attend):
    """Texts of different lengths in one batch: the shorter padded in front, its padding seen by nobody."""
    model = ours(CASES["seven a group, biases, tied"], attend)
    generator = torch.Generator().manual_seed(5)
    texts = [torch.randint(0, 211, (n,), generator=generator) for n in (20, 3, 11)]
    padding = torch.tensor([20 - len(text) for text in texts])
    ids = torch.stack([torch.cat((torch.full((int(n),), 5), t)) for n, t in zip(padding, texts, strict=True)])
    place = torch.arange(20)
    positions = (place - padding[:, None]).clamp(min=0)
    real = place[None, None, :] >= padding[:, None, None]
    mask = (place[:, None] >= place) & real | (place[:, None] == place)
    out = model(ids, positions, mask=mask)
    for b, text in enumerate(texts):
        torch.testing.assert_close(out[b, padding[b] :], model(text[None])[0], atol=2e-4, rtol=2e-4)
