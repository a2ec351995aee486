import pytest
import torch

from xgen.model.attention import attend_cpu, attend_reference
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer

CASES = {
    "multi-head": Shape(2, 96, 128, 6, 6, 16, 211, 8192),
    "grouped, tied": Shape(2, 96, 128, 6, 2, 16, 211, 8192, rope_theta=1e5, norm_eps=1e-5, tied_head=True),
    "seven a group, biases, tied": Shape(2, 112, 128, 14, 2, 8, 211, 8192, 1e6, 1e-6, True, True),
    "biases, untied": Shape(1, 64, 96, 4, 1, 16, 211, 8192, 1e6, 1e-6, False, True),
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


def theirs(model):
    transformers = pytest.importorskip("transformers")
    from xgen.formats.folder import config_of, to_hugging_face

    config = config_of(model.shape, end_ids=(0,), dtype="float32")
    kind = transformers.Qwen2Config if model.shape.qkv_bias else transformers.LlamaConfig
    config = kind(**{k: v for k, v in config.items() if k not in ("architectures", "model_type")})
    config._attn_implementation = "eager"
    cls = transformers.Qwen2ForCausalLM if model.shape.qkv_bias else transformers.LlamaForCausalLM
    peer = cls(config).eval()
    state = {to_hugging_face(name): p for name, p in model.state_dict().items()}
    missing, unexpected = peer.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    peer.tie_weights()
    return peer


@pytest.mark.parametrize("case", sorted(CASES))
@torch.inference_mode()
def test_against_transformers(case):
    model = ours(CASES[case])
    ids = torch.randint(0, 211, (2, 77), generator=torch.Generator().manual_seed(1))
    expected = theirs(model)(ids).logits
    assert expected.std() > 0.5
    torch.testing.assert_close(model.logits(model(ids)), expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("case", ["grouped, tied", "seven a group, biases, tied"])
@torch.inference_mode()
def test_against_transformers_to_position_8191(case):
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
