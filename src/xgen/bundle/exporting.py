"""A model out again, its adapter merged and its licence with it: an ordinary folder, or one GGUF file."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xgen.bundle.carried import without_code
from xgen.bundle.finding import Found, end_ids, find
from xgen.bundle.loading import DTYPES
from xgen.bundle.model_card import licence_text, model_card
from xgen.cards import Card, write_card
from xgen.cards.stated import hub_licence
from xgen.errors import BadModel, XgenError
from xgen.files import require_room, whole_file, whole_folder
from xgen.formats.folder import (
    CONFIG_FILE,
    GENERATION_FILE,
    load_weights,
    read_json,
    write_config,
    write_json,
    write_weights,
)
from xgen.formats.gguf_out import Facts, write_gguf
from xgen.show import note
from xgen.text.chat import SETTINGS_FILE, TEMPLATE_FILE, ChatTemplate
from xgen.text.tokenizer import TOKENIZER_FILE

_COPIED = (TOKENIZER_FILE, SETTINGS_FILE, TEMPLATE_FILE, "special_tokens_map.json", GENERATION_FILE)
_COPIED_NOTICES = ("LICENSE*", "NOTICE*")
_ID_FIELDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_DTYPE_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_TEXTS_BYTES = 1 << 25
_BITS = {"fp32": 32, "bf16": 16, "fp16": 16, "q8_0": 8.5}


def export_folder(
    name_or_folder: str | Path, target: Path, dtype: str = "bf16", adapter: str | Path | None = None
) -> Card:
    """Write a model as the folder `target`, which transformers, vLLM and SGLang read; return its card.

    Weights as `dtype` (one of DTYPES), an adapter added to them in fp32 first; the configuration, tokenizer
    and chat template, but no name of code of others, which is said; card.json, a README.md with the licence
    where the hub looks for it, and the licence's text where it has to go along. Tensors are made one at a
    time. Raises XgenError if `target` is there already, BadModel as `find` does and for weights that fp16
    cannot hold, NoRoom.
    """
    found = find(name_or_folder, adapter)
    ends = end_ids(found.folder, found.shape)
    kind = DTYPES[dtype]
    _require_new(target)
    require_room(target.resolve().parent, found.shape.weight_bytes(kind.itemsize) + _TEXTS_BYTES)
    card = _exported_card(found)
    with whole_folder(target) as draft:
        for path in _texts_of(found.folder):
            shutil.copyfile(path, draft / path.name)
        settings = read_json(draft / SETTINGS_FILE) if (draft / SETTINGS_FILE).exists() else {}
        if settings != (plain := without_code(settings)):
            note(f"{SETTINGS_FILE}: auto_map names Python code that the model does without: left out")
            write_json(draft / SETTINGS_FILE, plain)
        if not (draft / GENERATION_FILE).exists():
            write_json(draft / GENERATION_FILE, {"eos_token_id": ends})
        ids = {"eos_token_id": ends, **_ids_of(found.folder)}
        write_config(draft, found.shape, torch_dtype=_DTYPE_NAMES[dtype], **ids)
        write_card(card, draft)
        text = model_card(card, card.title, dtype, _changes(found, dtype))
        (draft / "README.md").write_text(text, encoding="utf-8")
        if (licence := licence_text(card)) and not (draft / "LICENSE").exists():
            name = "LICENSE" if hub_licence(card.licence) else "LICENSE-Apache-2.0"  # one of several
            (draft / name).write_text(licence, encoding="utf-8")
        write_weights(draft, found.shape, _tensor_source(found, kind), kind)
    return card


def export_gguf(
    name_or_folder: str | Path, target: Path, dtype: str = "bf16", adapter: str | Path | None = None
) -> Card:
    """Write a model as the GGUF file `target`, which llama.cpp and ollama run; return its card.

    `dtype` is one of KINDS: "fp32", "bf16", "fp16", or "q8_0" (8 bits, blocks of 32 with a scale each).
    Raises as `export_folder` does, and BadModel for a tokenizer that llama.cpp has no name for.
    """
    found = find(name_or_folder, adapter)
    folder = found.folder
    _require_new(target)
    require_room(target.resolve().parent, found.shape.weight_bytes(_BITS[dtype] / 8) + _TEXTS_BYTES)
    card = _exported_card(found)
    ids, settings = _ids_of(folder), read_json(folder / SETTINGS_FILE)
    tokenizer = read_json(folder / TOKENIZER_FILE)
    named = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
    end = settings.get("eos_token")
    usual = named.get(str(end.get("content") if isinstance(end, dict) else end))
    ends = sorted(end_ids(folder, found.shape), key=lambda index: index != usual)
    facts = Facts(
        name=card.title,
        licence=hub_licence(card.licence) or card.licence,
        description="; ".join(filter(None, (card.licence_source, card.warning, _changes(found, dtype)))),
        languages=card.languages,
        template=ChatTemplate.from_folder(folder).source,
        end_ids=tuple(ends),
        bos_id=ids.get("bos_token_id"),
        pad_id=ids.get("pad_token_id"),
    )
    with whole_file(target) as draft:
        write_gguf(draft, found.shape, _tensor_source(found), tokenizer, facts, dtype)
    return card


def _require_new(target: Path) -> None:
    if target.exists():
        raise XgenError(str(target), "it is there already", "name a new place, or remove it first")


def _exported_card(found: Found) -> Card:
    return dataclasses.replace(
        found.card,
        source=None,
        n_parameters=found.shape.n_parameters,
        window_tokens=found.card.window_tokens or found.shape.max_seq_len,
    )


def _changes(found: Found, dtype: str) -> str:
    merged = f"the adapter {found.card.name} added to the weights, " if found.change is not None else ""
    return f"{merged}written as {dtype} by xgen export"


def _texts_of(folder: Path) -> list[Path]:
    named = [folder / name for name in _COPIED if (folder / name).is_file()]
    return named + [path for pattern in _COPIED_NOTICES for path in folder.glob(pattern) if path.is_file()]


def _ids_of(folder: Path) -> dict[str, Any]:
    """The ids that begin, end and pad, as generation_config.json or else config.json names them."""
    ids: dict[str, Any] = {}
    for name in (CONFIG_FILE, GENERATION_FILE):
        table = read_json(folder / name) if (folder / name).is_file() else {}
        ids |= {field: table[field] for field in _ID_FIELDS if table.get(field) is not None}
    return ids


def _tensor_source(found: Found, dtype: torch.dtype | None = None) -> Callable[[str], Tensor]:
    """A function from our parameter name to its tensor: as `dtype`, or in the type that it comes in."""
    weights = load_weights(found.folder, found.shape)

    def tensor_of(name: str) -> Tensor:
        tensor = found.changed(weights[name], name)
        tensor = tensor if dtype is None else tensor.to(dtype)
        if dtype == torch.float16 and not tensor.isfinite().all():
            raise BadModel(name, "it holds numbers that fp16 cannot", "export it as bf16")
        return tensor

    return tensor_of
