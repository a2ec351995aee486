"""A GGUF file made into a Hugging Face folder, once: weights as bf16, the tokenizer, the chat template.

Architectures `llama` and `qwen2`, tokenizers `gpt-2`, `smollm` and `qwen2`, and the tensor types that are
tested against the library gguf and llama.cpp; everything else is refused by name.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf.quants import dequantize
from torch import Tensor

from xgen.cards import Card, write_card
from xgen.errors import BadModel
from xgen.files import require_room, whole_folder
from xgen.formats.folder import CHATML, parameter_shapes, write_config, write_json, write_weights
from xgen.formats.gguf_file import GGUFFile, StoredTensor, read_gguf
from xgen.formats.rope import read_rope
from xgen.model.shape import RopeScaling, Shape
from xgen.model.transformer import frequencies

TESTED_KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_1", "Q5_0", "Q4_K", "Q6_K")
ENDS = ("<|im_end|>", "<|endoftext|>")
TOKENIZER_BYTES = 1 << 25
ROTARY_FACTORS, ROTARY_FIELDS = "rope_freqs.weight", "xgen.rope_scaling"
"""What llama.cpp divides rotary frequencies by, and the numbers which that follows from, as in a config.json.

llama.cpp has no names for those numbers, and does not look for them.
"""
_PUBLISHED_WINDOWS = [1 << n for n in range(10, 18)]  # Llama 3's is 8,192
_ROWS_AT_ONCE = 4096
_WAY_OUT = "use a Llama or Qwen2 model of those that `xgen models` lists"

_WHOLE_NUMBERS = {
    "block_count": "n_layers",
    "embedding_length": "d_model",
    "feed_forward_length": "d_ff",
    "attention.head_count": "n_heads",
    "context_length": "max_seq_len",
}
_KNOWN_KEYS = {
    *_WHOLE_NUMBERS,
    *("attention.head_count_kv", "attention.layer_norm_rms_epsilon", "attention.key_length"),
    *("attention.value_length", "rope.freq_base", "rope.dimension_count", "vocab_size"),
    *("rope.scaling.type", "rope.scaling.factor"),
}
_OUTER_TENSORS = {
    "embedding.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "head.weight": "output.weight",
}
_LAYER_TENSORS = {
    "attention_norm": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def convert(gguf_file: Path, folder: Path, card: Card | None = None) -> None:
    """Make the folder of a GGUF file; a folder that is there already is left alone.

    config.json, model.safetensors (bf16), tokenizer.json, tokenizer_config.json with the chat template,
    generation_config.json and, if given, card.json. Tensors are converted one at a time. BadModel if
    the file is damaged or of a form that is refused, NoRoom if the disk is full; neither leaves anything.
    """
    source = read_gguf(gguf_file)
    shape = read_gguf_shape(source)
    tokenizer, settings, token_ids = _tokenizer(source, shape)
    tensor_of = _tensor_source(source, shape)
    require_room(folder, shape.weight_bytes() + TOKENIZER_BYTES)
    with whole_folder(folder) as draft:
        write_config(draft, shape, **token_ids)
        write_json(draft / "generation_config.json", token_ids)
        write_json(draft / "tokenizer.json", tokenizer)
        write_json(draft / "tokenizer_config.json", settings)
        if card is not None:
            write_card(card, draft)
        write_weights(draft, shape, tensor_of)


def read_gguf_shape(source: GGUFFile) -> Shape:
    """The shape that the file's values and tensors describe; BadModel names what cannot be represented."""
    architecture = source.values.get("general.architecture")
    if architecture not in ("llama", "qwen2"):
        raise _refuse(source, f"its architecture is {architecture!r}, not llama or qwen2")
    own = {
        key.removeprefix(f"{architecture}."): value
        for key, value in source.values.items()
        if key.startswith(f"{architecture}.")
    }
    if strange := sorted(set(own) - _KNOWN_KEYS):
        raise _refuse(source, f"{architecture}.{strange[0]} = {own[strange[0]]!r} cannot be represented")
    sizes = {ours: _whole(source, own, theirs) for theirs, ours in _WHOLE_NUMBERS.items()}
    if sizes["n_layers"] > len(source.tensors):
        raise _refuse(source, f"it has {len(source.tensors)} tensors for {sizes['n_layers']} layers")
    n_heads = sizes["n_heads"]
    head_dim = _whole(source, own, "attention.key_length", sizes["d_model"] // n_heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if _whole(source, own, key, head_dim) != head_dim:
            raise _refuse(source, f"{architecture}.{key} = {own[key]} differs from the heads' {head_dim}")
    n_kv_heads = _whole(source, own, "attention.head_count_kv", n_heads)
    if n_heads % n_kv_heads or head_dim % 2:
        raise _refuse(source, f"{n_heads} query heads, {n_kv_heads} key heads of {head_dim} cannot be")
    shape = Shape(
        **sizes,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        vocab_size=_embedding(source).shape[0],
        rope_theta=_number(source, own, "rope.freq_base", 10_000.0),
        norm_eps=_number(source, own, "attention.layer_norm_rms_epsilon"),
        tied_head=_is_tied(source),
        qkv_bias=architecture == "qwen2",
        rope_scaling=_rope_scaling(source, own),
    )
    has_factors = ROTARY_FACTORS in source.tensors and architecture == "llama"
    return _with_rotary_factors(source, shape) if has_factors else shape


def _refuse(source: GGUFFile, what: str) -> BadModel:
    return BadModel(str(source.path), what, _WAY_OUT)


def _whole(source: GGUFFile, own: dict[str, Any], key: str, default: int | None = None) -> int:
    value = own.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise _refuse(source, f"{key} is {value!r}, not a whole number above 0")
    return value


def _number(source: GGUFFile, own: dict[str, Any], key: str, default: float | None = None) -> float:
    value = own.get(key, default)
    if not isinstance(value, float) or not 0 < value < float("inf"):
        raise _refuse(source, f"{key} is {value!r}, not a number above 0")
    return float(str(np.float32(value)))  # 1e-06 as it was meant, not 9.99999997e-07


def _rope_scaling(source: GGUFFile, own: dict[str, Any]) -> RopeScaling | None:
    kind = own.get("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise _refuse(source, f"rope.scaling.type = {kind!r} cannot be represented")
    if kind == "none":
        return None
    return RopeScaling(_number(source, own, "rope.scaling.factor"))


def _with_rotary_factors(source: GGUFFile, shape: Shape) -> Shape:
    """`shape` with Llama 3's scaling, where a tensor of the file, [D / 2] in fp32, divides the frequencies.

    Its numbers are those that the file names, or Llama 3's own with whatever factor and window; BadModel
    unless the tensor follows from them.
    """
    stored = source.tensors[ROTARY_FACTORS]
    if shape.rope_scaling is None and stored.shape == (shape.head_dim // 2,) and stored.kind.name == "F32":
        factors = _dequantised(source, stored, slice(None))[0]
        for scaling in _named_scaling(source, shape) or _published_scalings(factors):
            scaled = replace(shape, rope_scaling=scaling)
            if torch.allclose(frequencies(shape) / frequencies(scaled), factors, rtol=1e-5):
                return scaled
    raise _refuse(source, f"{ROTARY_FACTORS} scales positions in another way than Llama 3 does")


def _named_scaling(source: GGUFFile, shape: Shape) -> list[RopeScaling]:
    named = source.values.get(ROTARY_FIELDS)
    if named is None:
        return []
    try:
        config = {"rope_theta": shape.rope_theta, "rope_scaling": json.loads(named)}
    except (ValueError, TypeError, RecursionError) as error:
        raise _refuse(source, f"{ROTARY_FIELDS} is not JSON") from error
    _, scaling = read_rope(config, lambda what: _refuse(source, what))
    return [scaling] if scaling is not None and scaling.original_window else []


def _published_scalings(factors: Tensor) -> list[RopeScaling]:
    factor = round(factors.nan_to_num().max().item(), 3)
    return [RopeScaling(factor, 1.0, 4.0, window) for window in _PUBLISHED_WINDOWS] if factor >= 1 else []


def _embedding(source: GGUFFile) -> StoredTensor:
    stored = source.tensors.get("token_embd.weight")
    if stored is None or len(stored.shape) != 2:
        raise _refuse(source, "it has no token_embd.weight of two axes")
    return stored


def _is_tied(source: GGUFFile) -> bool:
    """Whether the head is the embedding: absent, or the same numbers in another quantisation.

    Qwen2's small models tie, yet their files hold the matrix twice and no value says so. Two
    quantisations of one matrix have a cosine above 0.99, two matrices one near 0.
    """
    head = source.tensors.get("output.weight")
    if head is None:
        return True
    embedding = _embedding(source)
    if head.shape != embedding.shape:
        raise _refuse(source, f"output.weight is {list(head.shape)}, not {list(embedding.shape)}")
    rows = slice(0, 512)
    a, b = (_dequantised(source, stored, rows).flatten().double() for stored in (embedding, head))
    return bool(torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.9)


def _tensor_source(source: GGUFFile, shape: Shape) -> Callable[[str], Tensor]:
    """A function from our parameter name to its tensor in bf16; every stored tensor has its place."""
    sizes = parameter_shapes(shape)
    places = {name: stored_name(name) for name in sizes}
    if shape.tied_head and "output.weight" in source.tensors:
        # The copy for the output is the finer one (Q8_0 or Q6_K against Q5_0 or Q4_K).
        places["embedding.weight"] = "output.weight"
    if missing := sorted(set(places.values()) - set(source.tensors)):
        raise _refuse(source, f"the tensor {missing[0]} is missing")
    is_divided = shape.rope_scaling is not None and shape.rope_scaling.original_window > 0
    optional = {"token_embd.weight"} | ({ROTARY_FACTORS} if is_divided else set())
    if extra := sorted(set(source.tensors) - set(places.values()) - optional):
        raise _refuse(source, f"the tensor {extra[0]} has no place in this architecture")
    for name, place in places.items():
        if source.tensors[place].shape != sizes[name]:
            was, size = list(source.tensors[place].shape), list(sizes[name])
            raise _refuse(source, f"the tensor {place} is {was}, not {size}")
    for stored in source.tensors.values():
        if stored.kind.name not in TESTED_KINDS:
            raise _refuse(source, f"{stored.name} is {stored.kind.name}, not {', '.join(TESTED_KINDS)}")

    def tensor_of(name: str) -> Tensor:
        stored = source.tensors[places[name]]
        tensor = torch.empty(stored.shape, dtype=torch.bfloat16)
        flat = tensor.view(-1, stored.shape[-1])
        for start in range(0, len(flat), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            flat[rows] = _dequantised(source, stored, rows)
        is_rotated = not shape.qkv_bias and name.endswith((".q.weight", ".k.weight"))
        return _unpermuted(tensor, shape.head_dim) if is_rotated else tensor

    return tensor_of


def stored_name(name: str) -> str:
    """The name of our parameter in a GGUF file."""
    if name in _OUTER_TENSORS:
        return _OUTER_TENSORS[name]
    _, index, part, kind = name.split(".")
    return f"blk.{index}.{_LAYER_TENSORS[part]}.{kind}"


def _dequantised(source: GGUFFile, stored: StoredTensor, rows: slice) -> Tensor:
    """fp32 [rows, row length] of a stored tensor."""
    raw = source.raw_rows(stored)[rows]
    return torch.from_numpy(dequantize(raw, stored.kind).astype(np.float32, copy=True))


def _unpermuted(tensor: Tensor, head_dim: int) -> Tensor:
    """Rows (i, i + 1) of a rotated pair back to (i, i + head_dim / 2).

    llama.cpp rotates neighbours in the architecture llama, so its converter interleaved the two halves
    of each head of q and k; we rotate halves, as Hugging Face does.
    """
    return tensor.view(-1, head_dim // 2, 2, tensor.shape[-1]).transpose(1, 2).reshape(tensor.shape)


# llama.cpp's pre-tokenizers of these names, in the parts of the library tokenizers.
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
QWEN2_PATTERNS = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
"""llama.cpp's spelling of Qwen2's pattern, and Qwen's own."""
_PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [{**_BYTE_LEVEL, "use_regex": True}],
    "smollm": [{"type": "Digits", "individual_digits": True}, {**_BYTE_LEVEL, "use_regex": True}],
    "qwen2": [
        {"type": "Split", "pattern": {"Regex": QWEN2_PATTERNS[0]}, "behavior": "Isolated", "invert": False},
        {**_BYTE_LEVEL, "use_regex": False},
    ],
}
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens in a GGUF file."""


def _tokenizer(source: GGUFFile, shape: Shape) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """tokenizer.json, tokenizer_config.json and the ids that begin, end and pad, of a byte-level BPE.

    llama.cpp does not normalise the text, so neither does this, although Qwen's own tokenizer brings it
    to NFC first: a quotation must be found again as it stands in the document.
    """
    own = {
        key.removeprefix("tokenizer.ggml."): value
        for key, value in source.values.items()
        if key.startswith("tokenizer.ggml.")
    }
    model, pre = own.get("model"), own.get("pre")
    if model != "gpt2" or pre not in _PRE_TOKENIZERS:
        known = ", ".join(_PRE_TOKENIZERS)
        raise _refuse(source, f"its tokenizer is {model!r} with {pre!r}, not 'gpt2' with one of {known}")
    if own.get("add_bos_token") or own.get("add_space_prefix"):
        raise _refuse(source, "its tokenizer adds a token or a space in front, which is not tested")
    tokens, kinds, merges = (_texts(source, own, key) for key in ("tokens", "token_type", "merges"))
    if len(tokens) != shape.vocab_size or len(kinds) != len(tokens) or len(set(tokens)) != len(tokens):
        raise _refuse(source, f"it has {len(tokens)} tokens for {shape.vocab_size} rows, or some twice")
    if strange := set(kinds) - {NORMAL, CONTROL, USER_DEFINED, UNUSED}:
        raise _refuse(source, f"its tokenizer has tokens of the kind {sorted(strange)[0]}")
    added = [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kinds[index] == CONTROL,
        }
        for index, token in enumerate(tokens)
        if kinds[index] in (CONTROL, USER_DEFINED)
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _PRE_TOKENIZERS[pre]},
        "post_processor": None,
        "decoder": {**_BYTE_LEVEL, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens) if kinds[i] != UNUSED},
            "merges": [merge.split(" ", 1) for merge in merges],
        },
    }
    ids = _end_ids(source, own, tokens)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": shape.max_seq_len,
        "eos_token": tokens[ids["eos_token_id"][0]],
        "pad_token": tokens[ids["pad_token_id"]],
        "chat_template": source.values.get("tokenizer.chat_template", CHATML),
    }
    return tokenizer, settings, ids


def _texts(source: GGUFFile, own: dict[str, Any], key: str) -> list[Any]:
    kind = int if key == "token_type" else str
    found = own.get(key)
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise _refuse(source, f"it has no list tokenizer.ggml.{key}")
    if key == "merges" and not all(" " in item for item in found):
        raise _refuse(source, "a merge of its tokenizer does not name two parts")
    return found


def _end_ids(source: GGUFFile, own: dict[str, Any], tokens: list[str]) -> dict[str, Any]:
    """The end of a reply first, then whatever else ends one; llama.cpp stops at the same."""
    n = len(tokens)
    ends = [own.get("eos_token_id"), *(tokens.index(text) for text in ENDS if text in tokens)]
    ids = {"bos_token_id": own.get("bos_token_id"), "pad_token_id": own.get("padding_token_id", ends[0])}
    if not all(isinstance(i, int) and 0 <= i < n for i in (ends[0], ids["pad_token_id"])):
        raise _refuse(source, "its end or padding token is missing or not in its vocabulary")
    return ids | {"eos_token_id": list(dict.fromkeys(ends))}
