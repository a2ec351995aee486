"""A model written as one GGUF file, for llama.cpp and what is built on it: the way back of formats/gguf.py.

The layout and the names of values are those of ggml's docs/gguf.md; the library gguf writes and quantises.
Tensors are made and written one at a time, so no more than the largest is in memory.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from xgen.errors import BadModel
from xgen.formats.folder import parameter_shapes
from xgen.formats.gguf import (
    CONTROL,
    NORMAL,
    QWEN2_PATTERNS,
    ROTARY_FACTORS,
    ROTARY_FIELDS,
    UNUSED,
    USER_DEFINED,
    stored_name,
)
from xgen.formats.rope import rope_fields
from xgen.model.shape import Shape
from xgen.model.transformer import frequencies

KINDS = {
    "fp32": gguf.GGMLQuantizationType.F32,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "fp16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
_FILE_TYPES = {
    "fp32": gguf.LlamaFileType.ALL_F32,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "fp16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
_ROWS_AT_ONCE = 4096
_MOST_ENDS = 3
_WAY_OUT = "use the exported folder with a program that reads Hugging Face folders"


@dataclass(frozen=True)
class Facts:
    """What a file says beside its tensors and its tokens.

    `end_ids` end a reply, the usual one first; `bos_id` and `pad_id` are None where the model has none.
    `licence` is a hub identifier or words; `description` says where it is stated.
    """

    name: str
    licence: str
    description: str
    languages: tuple[str, ...]
    template: str
    end_ids: tuple[int, ...]
    bos_id: int | None
    pad_id: int | None


def write_gguf(
    path: Path,
    shape: Shape,
    tensor_of: Callable[[str], Tensor],
    tokenizer: dict[str, Any],
    facts: Facts,
    kind: str = "bf16",
) -> None:
    """Write a model of `shape` as the file `path`; `tokenizer` is the content of its tokenizer.json.

    `tensor_of` gives our parameters by name, one at a time, of any float type. Matrices become `kind` (one
    of KINDS), vectors fp32; a matrix whose rows are not whole blocks of q8_0 becomes fp16. The architecture
    is llama, or qwen2 for a model with biases. Raises BadModel for a tokenizer whose splitting llama.cpp has
    no name for, for Llama 3's rotary scaling in qwen2, and for weights that fp16 cannot hold.
    """
    writer = gguf.GGUFWriter(path, "qwen2" if shape.qkv_bias else "llama")
    _add_facts(writer, shape, facts, kind)
    _add_tokens(writer, tokenizer, facts, shape.vocab_size)
    factors = _rotary_factors(shape, facts.name)
    if factors is not None:
        writer.add_tensor(ROTARY_FACTORS, factors.numpy())
    sizes = parameter_shapes(shape)
    kinds = {name: _kind(size, KINDS[kind]) for name, size in sizes.items()}
    for name, size in sizes.items():
        block, n_bytes = gguf.GGML_QUANT_SIZES[kinds[name]]
        row_bytes = size[-1] // block * n_bytes
        stored = (*size[:-1], row_bytes)
        writer.add_tensor_info(
            stored_name(name), stored, np.dtype(np.uint8), int(np.prod(stored)), raw_dtype=kinds[name]
        )
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(factors.numpy())
        for name in sizes:
            tensor = tensor_of(name)
            if not shape.qkv_bias and name.endswith((".q.weight", ".k.weight")):
                tensor = _permuted(tensor, shape.head_dim)
            writer.write_tensor_data(_quantised(tensor, name, kinds[name]))
    finally:
        writer.close()


def _kind(size: tuple[int, ...], wanted: gguf.GGMLQuantizationType) -> gguf.GGMLQuantizationType:
    if len(size) == 1:  # llama.cpp computes with vectors in fp32 only
        return gguf.GGMLQuantizationType.F32
    return gguf.GGMLQuantizationType.F16 if size[-1] % gguf.GGML_QUANT_SIZES[wanted][0] else wanted


def _quantised(tensor: Tensor, name: str, kind: gguf.GGMLQuantizationType) -> np.ndarray[Any, Any]:
    """Bytes [rows, bytes of a row] of a tensor in the file's type."""
    flat = tensor.detach().reshape(-1, tensor.shape[-1])
    block, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    made = np.empty((len(flat), flat.shape[1] // block * n_bytes), np.uint8)
    for start in range(0, len(flat), _ROWS_AT_ONCE):
        rows = flat[start : start + _ROWS_AT_ONCE].to("cpu", torch.float32)
        if kind == gguf.GGMLQuantizationType.F16 and not rows.half().isfinite().all():
            raise BadModel(name, "it holds numbers that fp16 cannot", "export it as bf16")
        made[start : start + len(rows)] = gguf.quants.quantize(rows.contiguous().numpy(), kind).view(np.uint8)
    return made.reshape(*tensor.shape[:-1], -1)


def _permuted(tensor: Tensor, head_dim: int) -> Tensor:
    """Rows (i, i + head_dim / 2) of a rotated pair side by side, as llama.cpp wants a llama's q and k."""
    return tensor.view(-1, 2, head_dim // 2, tensor.shape[-1]).transpose(1, 2).reshape(tensor.shape)


def _add_facts(writer: gguf.GGUFWriter, shape: Shape, facts: Facts, kind: str) -> None:
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(facts.name)
    writer.add_license(facts.licence)
    writer.add_description(facts.description)
    if facts.languages:
        writer.add_languages(list(facts.languages))
    writer.add_file_type(_FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(shape.n_layers)
    writer.add_context_length(shape.max_seq_len)
    writer.add_embedding_length(shape.d_model)
    writer.add_feed_forward_length(shape.d_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_vocab_size(shape.vocab_size)
    if shape.rope_scaling is not None and shape.rope_scaling.original_window:
        writer.add_string(ROTARY_FIELDS, json.dumps(rope_fields(shape)["rope_scaling"]))
    elif shape.rope_scaling is not None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(shape.rope_scaling.factor)


def _rotary_factors(shape: Shape, where: str) -> Tensor | None:
    """What llama.cpp divides the frequencies by, [D / 2] fp32; only Llama 3's scaling needs it."""
    if shape.rope_scaling is None or not shape.rope_scaling.original_window:
        return None
    if shape.qkv_bias:
        raise BadModel(where, "llama.cpp has no place for Llama 3's rotary scaling in qwen2", _WAY_OUT)
    return frequencies(replace(shape, rope_scaling=None)) / frequencies(shape)


def _add_tokens(writer: gguf.GGUFWriter, tokenizer: dict[str, Any], facts: Facts, n_rows: int) -> None:
    """The tables of a byte-level BPE. Rows without a token get one that is marked as unused."""
    if len(facts.end_ids) > _MOST_ENDS:
        raise BadModel(facts.name, f"{len(facts.end_ids)} tokens end a reply, GGUF names three", _WAY_OUT)
    tokens, kinds = [f"[PAD{index}]" for index in range(n_rows)], [UNUSED] * n_rows
    for text, index in tokenizer["model"]["vocab"].items():
        tokens[index], kinds[index] = text, NORMAL
    for token in tokenizer.get("added_tokens", []):
        tokens[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer_name(tokenizer, facts.name))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    # llama.cpp takes 11 for an id that is not given, whatever token that is.
    usual, *others = facts.end_ids
    writer.add_eos_token_id(usual)
    for add, index in zip((writer.add_eot_token_id, writer.add_eom_token_id), others, strict=False):
        add(index)
    writer.add_bos_token_id(usual if facts.bos_id is None else facts.bos_id)
    if facts.pad_id is not None:
        writer.add_pad_token_id(facts.pad_id)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(facts.template)


def pre_tokenizer_name(tokenizer: dict[str, Any], where: str) -> str:
    """llama.cpp's name of how a text is split before its pieces are merged; BadModel if it has none.

    A normalisation to NFC, as Qwen's own tokenizer has it, is not a part of the name: llama.cpp does none.
    """
    steps = tokenizer.get("pre_tokenizer") or {}
    *before, last = steps.get("pretokenizers", [steps])
    normalizer = (tokenizer.get("normalizer") or {}).get("type", "NFC")
    if normalizer == "NFC" and last.get("type") == "ByteLevel":
        name = _split_name(before, last.get("use_regex", True))
        if name:
            return name
    raise BadModel(where, "llama.cpp has no name for the way its tokenizer splits texts", _WAY_OUT)


def _split_name(before: Sequence[dict[str, Any]], gpt2_pattern: bool) -> str:
    """`before` stands in front of the step that maps bytes, which may split by GPT-2's pattern itself."""
    if not before and gpt2_pattern:
        return "gpt-2"
    if len(before) != 1:
        return ""
    (step,) = before
    if gpt2_pattern:
        return "smollm" if step.get("type") == "Digits" and step.get("individual_digits") else ""
    isolated = step.get("type") == "Split" and step.get("behavior") == "Isolated" and not step.get("invert")
    return "qwen2" if isolated and step["pattern"].get("Regex") in QWEN2_PATTERNS else ""
