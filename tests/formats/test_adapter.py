"""Adapter folders against the library peft, in both directions, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from xgen.cards import CARDS, read_card
from xgen.errors import BadModel
from xgen.formats.adapter import load_adapter, save_adapter
from xgen.formats.folder import load_weights, parameter_shapes, read_shape, save_weights, write_config
from xgen.model.lora import Adapter, merged, new_adapter
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer

SHAPE = Shape(2, 32, 48, 4, 2, 8, 64, 128, rope_theta=500.0, tied_head=True, qkv_bias=True)
IDS = torch.arange(7, 40)[None] % 64
CARD = CARDS["qwen-0.5b"]


def adapter(rank: int = 3) -> Adapter:
    """One whose B is not zero."""
    torch.manual_seed(1)
    with torch.device("meta"):
        model = Transformer(SHAPE)
    fresh = new_adapter(model, rank, 2.0 * rank, seed=0)
    return Adapter(rank, 2.0 * rank, {n: (a, torch.randn_like(b) / 4) for n, (a, b) in fresh.weights.items()})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny model folder of random weights."""
    folder = tmp_path / "base"
    folder.mkdir()
    torch.manual_seed(0)
    weights = {name: torch.randn(size) / 4 for name, size in parameter_shapes(SHAPE).items()}
    write_config(folder, SHAPE)
    save_weights(folder, SHAPE, weights, torch.float32)
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An adapter as we save it."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(folder, adapter(), CARD, base="qwen-0.5b", dtype=torch.float32)
    return folder


def ours(base: Path, adapter: Adapter) -> torch.Tensor:
    """Logits of a model with the adapter merged."""
    shape = read_shape(base / "config.json")
    model = Transformer(shape).eval()
    model.load_state_dict({n: merged(w, n, adapter) for n, w in load_weights(base, shape).items()})
    with torch.inference_mode():
        return model.logits(model(IDS))


def theirs(base: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


# peft asks transformers for it by its old name
RENAMED = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@RENAMED
def test_against_peft_ours_loads_in_theirs(base: Path, saved: Path) -> None:
    peft = pytest.importorskip("peft")
    with_adapter = peft.PeftModel.from_pretrained(theirs(base), saved).eval()
    with torch.inference_mode():
        expected = with_adapter(IDS).logits
        plain = theirs(base)(IDS).logits
    found = ours(base, load_adapter(saved, SHAPE))
    assert (found - plain).norm() > 0.1 * plain.norm()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@RENAMED
@pytest.mark.parametrize(
    "more",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": "all-linear", "use_rslora": True, "lora_alpha": 5},
        {"target_modules": ["down_proj", "o_proj"], "lora_dropout": 0.5, "init_lora_weights": "gaussian"},
    ],
)
def test_against_peft_theirs_loads_in_ours(base: Path, more: dict[str, Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(**{"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", **more})
    with_adapter = peft.get_peft_model(theirs(base), config).eval()
    torch.manual_seed(2)
    with torch.no_grad():
        for name, p in with_adapter.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.2)
    with_adapter.save_pretrained(tmp_path / "theirs")
    with torch.inference_mode():
        expected = with_adapter(IDS).logits
    found = ours(base, load_adapter(tmp_path / "theirs", SHAPE))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_what_is_saved_is_read_back(saved: Path) -> None:
    before, back = adapter(), load_adapter(saved, SHAPE)
    assert (back.rank, back.alpha, list(back.weights)) == (3, 6.0, list(before.weights))
    for name, pair in before.weights.items():
        assert all(torch.equal(x, y) for x, y in zip(pair, back.weights[name], strict=True))
    assert read_card(saved) == CARD
    assert sorted(path.name for path in saved.iterdir()) == [
        *("adapter_config.json", "adapter_model.safetensors", "card.json"),
    ]
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1, "whoever reads one reads all"


def test_saved_as_bf16_it_takes_two_bytes_a_weight(saved: Path) -> None:
    save_adapter(saved, adapter(), CARD, base="qwen-0.5b")
    back = load_adapter(saved, SHAPE)
    assert {t.dtype for pair in back.weights.values() for t in pair} == {torch.bfloat16}
    n_bytes = (saved / "adapter_model.safetensors").stat().st_size
    assert 2 * back.n_parameters < n_bytes < 2 * back.n_parameters + 8_000


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": None}, "peft_type"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"use_dora": True}, "use_dora"),
        ({"use_rslora": "yes"}, "use_rslora"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"layers_to_transform": [0]}, "layers_to_transform"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"new_in_some_version": 1}, "new_in_some_version"),
        ({"r": 0}, "r is 0"),
        ({"r": True}, "r is True"),
        ({"r": 1 << 40}, "r is"),
        ({"r": None}, "r is None"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"lora_alpha": "8"}, "lora_alpha"),
        ({"target_modules": "(a+)+b"}, "target_modules"),
        ({"target_modules": []}, "target_modules"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": [3]}, "target_modules"),
        ({"target_modules": ["q_proj"]}, "have no place"),
        ({"r": 4}, r"\[3, 32\], not floats \[4, 32\]"),
    ],
)
def test_what_cannot_be_represented_is_named(saved: Path, change: dict[str, Any], named: str) -> None:
    path = saved / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadModel, match=named):
        load_adapter(saved, SHAPE)


def test_fields_that_are_off_are_taken(saved: Path) -> None:
    path = saved / "adapter_config.json"
    off = {"use_dora": False, "modules_to_save": None, "rank_pattern": {}, "new_in_some_version": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | off))
    assert load_adapter(saved, SHAPE).rank == 3


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("name", "tensor", "what"),
    [
        (FIRST, None, "lora_A.weight is missing"),
        (FIRST, torch.ones(3, 31), r"\[3, 31\]"),
        (FIRST, torch.ones(3, 32, dtype=torch.int8), "int8"),
        ("base_model.model.lm_head.lora_A.weight", torch.ones(3, 32), "have no place"),
        ("base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", torch.ones(3, 32), "no place"),
    ],
)
def test_tensors_out_of_place_are_named(
    saved: Path, name: str, tensor: torch.Tensor | None, what: str
) -> None:
    path = saved / "adapter_model.safetensors"
    tensors = load_file(path) | {name: tensor}
    save_file({n: t for n, t in tensors.items() if t is not None}, path)
    with pytest.raises(BadModel, match=what):
        load_adapter(saved, SHAPE)


@given(cut=st.floats(0, 0.999))
def test_law_a_cut_file_is_one_sentence(cut: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cut")
    save_adapter(folder, adapter(1), CARD, base="qwen-0.5b")
    path = folder / "adapter_model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(BadModel, match="not a whole safetensors file"):
        load_adapter(folder, SHAPE)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_one_sentence(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(BadModel, match=f"it has no {name}"):
        load_adapter(saved, SHAPE)


def test_an_adapter_of_another_known_model_is_refused(saved: Path) -> None:
    for model in ("qwen-0.5b", "mine", ""):
        assert load_adapter(saved, SHAPE, model).rank == 3
    with pytest.raises(BadModel, match=r"trained on qwen-0\.5b, not on smollm2"):
        load_adapter(saved, SHAPE, "smollm2")
