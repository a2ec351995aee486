import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from xgen.errors import BadModel
from xgen.formats.folder import load_weights, parameter_shapes, read_shape, save_weights, write_config
from xgen.model.attention import attend_reference
from xgen.model.shape import SHAPES, RopeScaling, Shape
from xgen.model.transformer import Transformer

IDS = torch.arange(7, 40)[None] % 64
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
CASES = [
    ("Llama", {"rms_norm_eps": 1e-5}),
    (
        "Llama",
        {
            "head_dim": 16,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 77.0},
        },
    ),
    ("Qwen2", {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    ("Qwen2", {"use_sliding_window": False, "sliding_window": 4}),
    ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
    ("Llama", {"head_dim": 32, "rope_parameters": {"rope_theta": 5e5, **LLAMA3}}),
]


def transformer(folder: Path) -> Transformer:
    shape = read_shape(folder / "config.json")
    model = Transformer(shape, attend_reference)
    model.load_state_dict(load_weights(folder, shape), assign=True)
    return model.eval()


def stranger(kind: str, more: dict[str, Any]) -> Any:
    """A random model of transformers, its weights large enough that every part of it matters."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**SIZES, **more)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(mean=1.0 if p.ndim == 1 else 0.0, std=0.2)
    return model


@pytest.mark.parametrize(("kind", "more"), CASES)
@pytest.mark.parametrize("shard_size", ["1GB", "10KB"])
def test_against_transformers_logits(
    kind: str, more: dict[str, Any], shard_size: str, tmp_path: Path
) -> None:
    theirs = stranger(kind, more)
    theirs.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard_size == "10KB")
    ours = transformer(tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(ours.logits(ours(IDS)), theirs(IDS).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("tied", "biased"), [(True, True), (False, False)])
def test_against_transformers_reading_ours(tied: bool, biased: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    shape = Shape(2, 32, 48, 4, 2, 8, 64, 128, rope_theta=500.0, tied_head=tied, qkv_bias=biased)
    ours = Transformer(shape, attend_reference).eval()
    weights = {name: torch.randn(size) / 4 for name, size in parameter_shapes(shape).items()}
    ours.load_state_dict(weights)
    write_config(tmp_path, shape)
    save_weights(tmp_path, shape, weights, torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(IDS).logits, ours.logits(ours(IDS)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_law_the_names_are_the_decoders(name: str) -> None:
    with torch.device("meta"):
        model = Transformer(SHAPES[name])
    assert {n: tuple(p.shape) for n, p in model.named_parameters()} == parameter_shapes(SHAPES[name])


POSITIVE = st.floats(1e-9, 1e9)
SHAPE = st.builds(
    lambda n_kv_heads, groups, half, **rest: Shape(
        n_heads=n_kv_heads * groups, n_kv_heads=n_kv_heads, head_dim=2 * half, **rest
    ),
    **dict.fromkeys(("n_kv_heads", "groups", "half"), st.integers(1, 16)),
    **dict.fromkeys(("d_model", "d_ff", "vocab_size", "max_seq_len"), st.integers(1, 1 << 20)),
    n_layers=st.integers(1, 4096),
    **dict.fromkeys(("rope_theta", "norm_eps"), POSITIVE),
    **dict.fromkeys(("tied_head", "qkv_bias"), st.booleans()),
    rope_scaling=st.none()
    | st.builds(RopeScaling, st.floats(1, 1e3))
    | st.builds(RopeScaling, st.floats(1, 1e3), st.floats(0.1, 2), st.floats(3, 9), st.integers(1, 1 << 20)),
)


@given(shape=SHAPE)
def test_law_a_written_shape_is_read_back(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_config(folder, shape)
    assert read_shape(folder / "config.json") == shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_against_safetensors_the_file(dtype: torch.dtype, tmp_path: Path) -> None:
    shape = SHAPES["tiny"]
    weights = {name: torch.randn(size) for name, size in parameter_shapes(shape).items()}
    save_weights(tmp_path, shape, weights, dtype)
    theirs = load_file(tmp_path / "model.safetensors")
    ours = load_weights(tmp_path, shape)
    assert len(theirs) == len(ours) == len(weights)
    assert torch.equal(theirs["model.layers.1.mlp.up_proj.weight"], weights["layers.1.up.weight"].to(dtype))
    assert all(torch.equal(ours[name], weights[name].to(dtype)) for name in weights)
    assert all(tensor.data_ptr() % 16 == 0 for tensor in ours.values())


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    write_config(tmp_path, SHAPES["tiny"])
    table: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
    return table


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"architectures": ["MistralForCausalLM"]}, "MistralForCausalLM"),
        ({"architectures": None}, "architectures"),
        ({"architectures": [["LlamaForCausalLM"]]}, "architectures"),
        ({"layer_types": 5}, "layer_types"),
        ({"model_type": "mistral"}, "model_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"layer_types": ["sliding_attention"]}, "layer_types"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "of the kind dynamic"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "of the kind yarn"),
        ({"rope_scaling": {"rope_type": "longrope", "type": "longrope"}}, "of the kind longrope"),
        ({"rope_scaling": {"rope_type": "linear", "type": "llama3"}}, "kind linear and llama3"),
        ({"rope_scaling": {"type": "linear"}}, "factor is None"),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, "below 1"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0, "attention_factor": 3}}, "attention_factor = 3"),
        ({"rope_scaling": 3}, "rope_scaling"),
        ({"rope_scaling": {**LLAMA3, "low_freq_factor": 4.0}}, "low_freq_factor 4.0"),
        ({"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 8.5}}, "window 8.5"),
        ({"rope_scaling": {**LLAMA3, "high_freq_factor": None}}, "high_freq_factor is None"),
        ({"rope_scaling": LLAMA3, "rope_parameters": {"rope_theta": 10_000.0}}, "say different things"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}, "say different things"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map"),
        ({"logit_scale": 2.0}, "logit_scale"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": 2**31 - 1}, "num_hidden_layers"),
        ({"hidden_size": True}, "hidden_size"),
        ({"intermediate_size": None}, "intermediate_size"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"num_key_value_heads": 3}, "3 key heads"),
        ({"head_dim": 7}, "heads of 7"),
        ({"rope_theta": -1}, "rope_theta"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings"),
    ],
)
def test_what_cannot_be_represented_is_named(
    config: dict[str, Any], change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BadModel, match=named):
        read_shape(tmp_path / "config.json")


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_damaged_config_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadModel, match=r"config\.json"):
        read_shape(tmp_path / "config.json")


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a tiny folder by their names in the file."""
    save_weights(
        tmp_path, SHAPES["tiny"], {n: torch.ones(s) for n, s in parameter_shapes(SHAPES["tiny"]).items()}
    )
    return load_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "tensor", "what"),
    [
        ("model.norm.weight", None, r"model\.norm\.weight is missing"),
        ("model.norm.weight", torch.ones(3), r"model\.norm\.weight .*\[3\]"),
        ("model.norm.weight", torch.ones(64, dtype=torch.int8), r"int8"),
        ("model.layers.2.mlp.up_proj.weight", torch.ones(1), "have no place"),
        ("lm_head.weight", torch.zeros(512, 64), "differs from the embedding"),
    ],
)
def test_tensors_out_of_place_are_named(
    saved: dict[str, torch.Tensor], name: str, tensor: torch.Tensor | None, what: str, tmp_path: Path
) -> None:
    save_file(
        {n: t for n, t in (saved | {name: tensor}).items() if t is not None}, tmp_path / "model.safetensors"
    )
    with pytest.raises(BadModel, match=what):
        load_weights(tmp_path, SHAPES["tiny"])


def test_harmless_extras_are_taken(saved: dict[str, torch.Tensor], tmp_path: Path) -> None:
    extras = {
        "lm_head.weight": saved["model.embed_tokens.weight"].clone(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8),
    }
    save_file(saved | extras, tmp_path / "model.safetensors")
    assert set(load_weights(tmp_path, SHAPES["tiny"])) == set(parameter_shapes(SHAPES["tiny"]))


@given(cut=st.floats(0, 0.999))
def test_law_a_cut_file_is_one_sentence(cut: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cut")
    save_weights(
        folder, SHAPES["tiny"], {n: torch.ones(s) for n, s in parameter_shapes(SHAPES["tiny"]).items()}
    )
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: int(cut * len(data))])
    with pytest.raises(BadModel, match="not a whole safetensors file"):
        load_weights(folder, SHAPES["tiny"])


@pytest.mark.parametrize(
    ("index", "what"),
    [
        ({"weight_map": {"a": "../model.safetensors"}}, "weight_map"),
        ({"weight_map": {}}, "weight_map"),
        ({}, "weight_map"),
        ({"weight_map": {"a": "model-00001.safetensors"}}, "shard model-00001"),
    ],
)
def test_a_bad_index_is_one_sentence(index: dict[str, Any], what: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadModel, match=what):
        load_weights(tmp_path, SHAPES["tiny"])


def test_pickled_weights_are_not_loaded_but_imported(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(BadModel, match="with `xgen import`"):
        load_weights(tmp_path, SHAPES["tiny"])
