"""The Hugging Face folder: config.json to a Shape, safetensors to our parameter names, and back.

Every field of a configuration is either represented, known to change nothing, or refused by name: a
model is loaded exactly or not at all.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from xgen.errors import BadModel
from xgen.formats.rope import Refuse, positive, read_rope, rope_fields
from xgen.formats.stored import StoredTensor
from xgen.model.shape import Shape

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
ROTARY_BUFFER = "rotary_emb.inv_freq"
"""The end of the names of the frequencies that old files keep, one for each layer."""

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The chat template of a model that brings none: turns as OpenAI's ChatML marks them."""

_LARGEST_JSON_BYTES = 1 << 26
_MOST_LAYERS = 1 << 12

ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}

_SHAPE_FIELDS = {
    "num_hidden_layers": "n_layers",
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "num_attention_heads": "n_heads",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_seq_len",
}
_REPRESENTED = {
    *_SHAPE_FIELDS,
    *("architectures", "model_type", "num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta"),
    *("rope_scaling", "rope_parameters", "tie_word_embeddings"),
}
# Fields that may stand there with one of these values only, because any other changes the computation.
_FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "use_sliding_window": (False,),
    "pretraining_tp": (1,),
    "rope_interleaved": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
    "auto_map": (None,),
}
# Fields that change nothing about what a given text's logits are: training, caching, book-keeping.
# The two window fields act only with use_sliding_window, which is refused above.
_INERT = {
    *("_name_or_path", "attention_dropout", "bos_token_id", "chunk_size_feed_forward", "dtype"),
    *("eos_token_id", "id2label", "initializer_range", "is_llama_config", "label2id", "layer_types"),
    *("max_window_layers", "output_attentions", "output_hidden_states", "pad_token_id", "problem_type"),
    *("return_dict", "sliding_window", "torch_dtype", "transformers_version", "use_cache"),
    *("transformers.js_config", "_attn_implementation_autoset", "unk_token_id", "max_sequence_length"),
    *("unsloth_fixed", "unsloth_version"),
}
_WAY_OUT = "convert the model to a plain Llama or Qwen2 folder, or use another one"

_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}

_LAYER_NAMES = {
    "attention_norm.weight": "input_layernorm.weight",
    "q.weight": "self_attn.q_proj.weight",
    "q.bias": "self_attn.q_proj.bias",
    "k.weight": "self_attn.k_proj.weight",
    "k.bias": "self_attn.k_proj.bias",
    "v.weight": "self_attn.v_proj.weight",
    "v.bias": "self_attn.v_proj.bias",
    "o.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "gate.weight": "mlp.gate_proj.weight",
    "up.weight": "mlp.up_proj.weight",
    "down.weight": "mlp.down_proj.weight",
}
_OUTER_NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}


_HEAD = _OUTER_NAMES["head.weight"]


def parameter_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Our parameter names with the shapes of their tensors, in the order of the forward pass."""
    d_q, d_kv = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
    width, inner = shape.d_model, shape.d_ff
    layer: dict[str, tuple[int, ...]] = {"attention_norm.weight": (width,)}
    for name, rows in (("q", d_q), ("k", d_kv), ("v", d_kv)):
        layer[f"{name}.weight"] = (rows, width)
        if shape.qkv_bias:
            layer[f"{name}.bias"] = (rows,)
    layer |= {"o.weight": (width, d_q), "ffn_norm.weight": (width,)}
    layer |= {"gate.weight": (inner, width), "up.weight": (inner, width), "down.weight": (width, inner)}
    table = (shape.vocab_size, width)
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": table}
    for index in range(shape.n_layers):
        shapes |= {f"layers.{index}.{name}": size for name, size in layer.items()}
    return shapes | {"norm.weight": (width,)} | ({} if shape.tied_head else {"head.weight": table})


def foreign_name(name: str) -> str:
    """Hugging Face's name of our parameter `name`."""
    if name in _OUTER_NAMES:
        return _OUTER_NAMES[name]
    _, index, rest = name.split(".", 2)
    return f"model.layers.{index}.{_LAYER_NAMES[rest]}"


def read_json(path: Path) -> dict[str, Any]:
    """The table in a JSON file of a model folder; BadModel if it is missing, huge or not one."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_JSON_BYTES + 1)
        if len(data) > _LARGEST_JSON_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_JSON_BYTES} bytes")
        value = json.loads(data)
    except FileNotFoundError as error:
        raise BadModel(str(path.parent), f"it has no {path.name}", "name a model folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(str(path), f"it cannot be read ({error})", "bring the file again") from error
    if not isinstance(value, dict):
        raise BadModel(str(path), "it is not a table of fields", "bring the file again")
    return value


def read_shape(path: Path) -> Shape:
    """The shape in a config.json; BadModel names the first field that cannot be represented."""
    config = read_json(path)

    def refuse(what: str) -> BadModel:
        return BadModel(str(path), what, _WAY_OUT)

    architecture = _architecture(config, refuse)
    for field, value in config.items():
        if field in _FIXED:
            if value not in _FIXED[field]:
                raise refuse(f"{field} = {value!r} cannot be represented")
        elif field not in _REPRESENTED | _INERT:
            raise refuse(f"the field {field!r} is not known here and may change what the model computes")
    kinds = config.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise refuse("layer_types other than full_attention cannot be represented")
    sizes = {ours: _size(config.get(theirs), theirs, refuse) for theirs, ours in _SHAPE_FIELDS.items()}
    if sizes["n_layers"] > _MOST_LAYERS:
        raise refuse(f"num_hidden_layers is {sizes['n_layers']:,}, above {_MOST_LAYERS:,}")
    n_heads = sizes["n_heads"]
    n_kv_heads = _size(config.get("num_key_value_heads") or n_heads, "num_key_value_heads", refuse)
    head_dim = _size(config.get("head_dim") or sizes["d_model"] // n_heads, "head_dim", refuse)
    if n_heads % n_kv_heads or head_dim % 2:
        raise refuse(f"{n_heads} query heads, {n_kv_heads} key heads of {head_dim} cannot be")
    theta, scaling = read_rope(config, refuse)
    return Shape(
        **sizes,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        rope_theta=theta,
        norm_eps=positive(config.get("rms_norm_eps", 1e-6), "rms_norm_eps", refuse),
        tied_head=_flag(config.get("tie_word_embeddings", False), "tie_word_embeddings", refuse),
        qkv_bias=architecture == "Qwen2ForCausalLM",
        rope_scaling=scaling,
    )


def _architecture(config: dict[str, Any], refuse: Refuse) -> str:
    names = config.get("architectures")
    if not isinstance(names, list) or names not in [[name] for name in ARCHITECTURES]:
        raise refuse(f"architectures is {names!r}, not one of {', '.join(ARCHITECTURES)}")
    architecture: str = names[0]
    if config.get("model_type", ARCHITECTURES[architecture]) != ARCHITECTURES[architecture]:
        raise refuse(f"model_type {config['model_type']!r} does not go with {architecture}")
    return architecture


def _size(value: object, field: str, refuse: Refuse) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise refuse(f"{field} is {value!r}, not a whole number above 0")
    return value


def _flag(value: object, field: str, refuse: Refuse) -> bool:
    if not isinstance(value, bool):
        raise refuse(f"{field} is {value!r}, not true or false")
    return value


def write_config(folder: Path, shape: Shape, **more: Any) -> None:
    """Write config.json for `shape`; `more` are further fields, such as eos_token_id."""
    architecture = "Qwen2ForCausalLM" if shape.qkv_bias else "LlamaForCausalLM"
    config: dict[str, Any] = {"architectures": [architecture], "model_type": ARCHITECTURES[architecture]}
    config |= {theirs: getattr(shape, ours) for theirs, ours in _SHAPE_FIELDS.items()}
    config |= {
        "num_key_value_heads": shape.n_kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": shape.norm_eps,
        **rope_fields(shape),
        "tie_word_embeddings": shape.tied_head,
        "torch_dtype": "bfloat16",
    }
    write_json(folder / CONFIG_FILE, config | more)


def write_json(path: Path, table: dict[str, Any]) -> None:
    """Write a table as indented UTF-8 JSON."""
    path.write_text(json.dumps(table, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def weights_layout(shape: Shape, dtype: torch.dtype) -> tuple[bytes, dict[str, int]]:
    """The first bytes of model.safetensors, and where each of our parameters begins in the file.

    The format is 8 bytes of length, a JSON header, the tensors one after another (safetensors' README).
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    starts: dict[str, int] = {}
    end = 0
    for name, size in parameter_shapes(shape).items():
        starts[name], end = end, end + torch.Size(size).numel() * dtype.itemsize
        header[foreign_name(name)] = {
            "dtype": _DTYPES[dtype],
            "shape": list(size),
            "data_offsets": [starts[name], end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)  # tensors begin where a cache line does, mapped or not
    first = len(text).to_bytes(8, "little") + text
    return first, {name: len(first) + start for name, start in starts.items()}


def write_weights(
    folder: Path, shape: Shape, tensor_of: Callable[[str], Tensor], dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write model.safetensors, asking `tensor_of` for one of our parameters at a time.

    The library safetensors writes a whole model from memory; this writes the tensors as they come.
    """
    first, _ = weights_layout(shape, dtype)
    with (folder / WEIGHTS_FILE).open("wb") as file:
        file.write(first)
        for name, size in parameter_shapes(shape).items():
            tensor = tensor_of(name)
            if tuple(tensor.shape) != size:
                raise BadModel(name, f"its shape is {list(tensor.shape)}, not {list(size)}", _WAY_OUT)
            file.write(tensor.detach().to("cpu", dtype).contiguous().view(torch.uint8).numpy().data)


def save_weights(
    folder: Path, shape: Shape, weights: dict[str, Tensor], dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write model.safetensors from tensors by our parameter names, as `dtype`."""
    write_weights(folder, shape, weights.__getitem__, dtype)


def load_weights(folder: Path, shape: Shape) -> dict[str, Tensor]:
    """Memory-mapped tensors by our parameter names, in their stored type (fp32, fp16 or bf16).

    Takes one model.safetensors or the shards of an index. Raises BadModel for a damaged file and for
    every tensor that is missing, too many or of another shape.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    if name in found:
                        raise BadModel(str(path), f"{name} stands in two files", _WAY_OUT)
                    found[name] = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            reason = f"not a whole safetensors file ({error})"
            raise BadModel(str(path), reason, "bring the file again") from error
    return by_our_names(folder, shape, found, torch.equal)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    if index.exists():
        return shard_files(index)
    if not (folder / WEIGHTS_FILE).is_file():
        way_out = "name a folder with safetensors weights, or bring pickled ones over with `xgen import`"
        raise BadModel(str(folder), f"it has neither {WEIGHTS_FILE} nor {INDEX_FILE}", way_out)
    return [folder / WEIGHTS_FILE]


def shard_names(index: Path) -> list[str]:
    """The files that an index of shards names, there or not; BadModel if one lies outside its folder."""
    places = read_json(index).get("weight_map")
    names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise BadModel(str(index), "its weight_map does not name files of this folder", "bring it again")
    return names


def shard_files(index: Path) -> list[Path]:
    """The files that an index of shards names; BadModel if one is missing or lies outside its folder."""
    files = [index.parent / name for name in shard_names(index)]
    if missing := [path.name for path in files if not path.is_file()]:
        raise BadModel(str(index.parent), f"the shard {missing[0]} is missing", "bring it again")
    return files


_Held = TypeVar("_Held", Tensor, StoredTensor)


def by_our_names(
    folder: Path, shape: Shape, found: dict[str, _Held], equal: Callable[[_Held, _Held], bool]
) -> dict[str, _Held]:
    """Tensors by their names in `folder`'s files, read or yet to be read, by our parameter names.

    Raises BadModel for every tensor that is missing, too many, of another shape or no float. Rotary
    frequencies, which follow from the configuration, and a second copy of a tied head are left out.
    """
    head = found.get(_HEAD) if shape.tied_head else None  # some tools write a tied head once more
    weights = placed(folder, shape, {n: tensor for n, tensor in found.items() if tensor is not head})
    for name in parameter_shapes(shape):
        if name not in weights:
            raise BadModel(str(folder), f"the tensor {foreign_name(name)} is missing", _WAY_OUT)
    if head is not None and not equal(head, weights["embedding.weight"]):
        raise BadModel(str(folder), f"{_HEAD} differs from the embedding it is tied to", _WAY_OUT)
    return {name: weights[name] for name in parameter_shapes(shape)}


def placed(where: Path, shape: Shape, found: dict[str, _Held]) -> dict[str, _Held]:
    """Some tensors of a model by our parameter names; BadModel as `by_our_names`, but for missing ones."""
    places = {foreign_name(name): (name, size) for name, size in parameter_shapes(shape).items()}
    extra = sorted(name for name in found if name not in places and not name.endswith(ROTARY_BUFFER))
    if extra:
        raise BadModel(str(where), f"{len(extra)} tensors have no place, first {extra[0]}", _WAY_OUT)
    weights: dict[str, _Held] = {}
    for foreign, tensor in found.items():
        if foreign not in places:
            continue
        name, size = places[foreign]
        if tuple(tensor.shape) != size or tensor.dtype not in _DTYPES:
            what = f"{foreign} is {tensor.dtype} {list(tensor.shape)}, not floats {list(size)}"
            raise BadModel(str(where), what, _WAY_OUT)
        weights[name] = tensor
    return weights
