"""What a published folder brings beside its weights: tokenizer, chat template, the ids that end and begin.

XGen's is known to be wrong in three places, which are corrected: its tokenizer is Python code, its first
generation_config.json has LLaMA's ids (end 2, which is "#" here), and its config.json pads with 0, which is
"!" (facts: the Hugging Face hub, Salesforce/xgen-7b-8k-base, commits 04d6513 and a18ce2b).
"""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xgen.cards import CARD_FILE, CARDS, Card, imported_card, read_card, write_card
from xgen.errors import BadModel
from xgen.formats.folder import (
    CHATML,
    CONFIG_FILE,
    GENERATION_FILE,
    read_json,
    read_shape,
    write_config,
    write_json,
)
from xgen.model.shape import Shape
from xgen.text.chat import SETTINGS_FILE, TEMPLATE_FILE, ChatTemplate
from xgen.text.tokenizer import TOKENIZER_FILE, Tokenizer
from xgen.text.xgen_tokens import END_OF_TEXT, RANKS_FILE, TOKENIZER_SETTINGS, find_ranks, xgen_tokenizer_json

XGEN_CODE_FILE = "tokenization_xgen.py"
_XGEN_CLASS = "xgentokenizer"
_XGEN_END = 50_256
LICENCES = ("README.md", "LICENSE*", "NOTICE*")
SMALL_FILES = (
    *(CONFIG_FILE, GENERATION_FILE, TOKENIZER_FILE, SETTINGS_FILE, TEMPLATE_FILE, RANKS_FILE),
    *(*LICENCES, CARD_FILE),
)
"""All that is ever looked at of a published model beside its weights, as patterns of names."""

_ID_FIELDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class Carried:
    """All of a folder but its weights, ready to be written; `corrections` says what was not taken over.

    `shape` is that of config.json, its window no wider than that on the `card`. `tokenizer` is the content
    of tokenizer.json, `settings` that of tokenizer_config.json with the chat template. `ids` are the fields
    bos_token_id, eos_token_id and pad_token_id, as far as there are such.
    """

    shape: Shape
    card: Card
    tokenizer: dict[str, Any]
    settings: dict[str, Any]
    ids: dict[str, Any]
    corrections: tuple[str, ...]
    licences: tuple[Path, ...]

    def write(self, folder: Path, dtype: str) -> None:
        """Write it into `folder`, for weights of the type `dtype` (as torch names it)."""
        write_config(folder, self.shape, **self.ids, torch_dtype=dtype)
        (folder / TOKENIZER_FILE).write_text(json.dumps(self.tokenizer, ensure_ascii=False), encoding="utf-8")
        write_json(folder / SETTINGS_FILE, self.settings)
        write_json(folder / GENERATION_FILE, self.ids)
        for path in self.licences:
            shutil.copyfile(path, folder / path.name)
        write_card(self.card, folder)


def carried(source: Path, name: str, named: str | None) -> Carried:
    """What `source` brings: `name` is its folder's or the hub's id, `named` the known one somebody gives it.

    Raises BadModel for a configuration that cannot be represented, a known name that it cannot have, a
    tokenizer that is no byte-level BPE or has more ids than there are rows, a chat template that is none,
    and where nothing says what ends a reply; NotPulled where XGen's tokenizer would need GPT-2's ranks,
    which are nowhere.
    """
    shape = read_shape(source / CONFIG_FILE)
    settings = read_json(source / SETTINGS_FILE) if (source / SETTINGS_FILE).is_file() else {}
    licences = sorted({path for name in LICENCES for path in source.glob(name) if path.is_file()})
    if is_xgen(source, settings) and not (source / TOKENIZER_FILE).is_file():
        tokenizer = xgen_tokenizer_json(find_ranks(source))
        ids, corrections = _xgen_ids(source)
        settings = {**TOKENIZER_SETTINGS, "model_max_length": shape.max_seq_len}
    else:
        tokenizer = _tokenizer_json(source)
        settings, corrections = _settings(source, settings)
        ids = _ids(source, shape, settings, tokenizer)
    n_ids = Tokenizer(tokenizer).vocab_size
    if n_ids > shape.vocab_size:
        what = f"its tokenizer has {n_ids:,} ids for {shape.vocab_size:,} rows"
        raise BadModel(str(source), what, "bring a folder whose files belong together")
    size = {"n_parameters": shape.n_parameters, "window_tokens": shape.max_seq_len}
    own = _own_card(source, corrections)
    card = imported_card(named, _readme(source), name, **size, own=own)
    if card.name in CARDS and card.window_tokens < shape.max_seq_len:
        corrections.append(f"its window is {card.window_tokens:,} tokens, not {shape.max_seq_len:,}")
        shape = replace(shape, max_seq_len=card.window_tokens)
    return Carried(shape, card, tokenizer, settings, ids, tuple(corrections), tuple(licences))


def is_xgen(source: Path, settings: dict[str, Any]) -> bool:
    """Whether a folder has XGen's own tokenizer: its code, or the name of its code or class."""
    named = str((settings.get("tokenizer_class"), settings.get("auto_map"))).casefold()
    return (source / XGEN_CODE_FILE).is_file() or _XGEN_CLASS in named


def without_code(settings: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's settings without the names of Python code of others, which no folder of ours brings.

    Who finds such a name there would look for the code, and refuse the folder without it.
    """
    return {key: value for key, value in settings.items() if key != "auto_map"}


def _own_card(source: Path, corrections: list[str]) -> Card | None:
    """The card that an export of ours has; what others keep in a file of its name is left out, which is said.

    A card of ours that is damaged is refused: it may have forbidden something.
    """
    path = source / CARD_FILE
    if not path.is_file():
        return None
    if "licence_source" not in read_json(path):
        corrections.append(f"its {CARD_FILE} is no card of a model in this form, and was left out")
        return None
    return read_card(source)


def _tokenizer_json(source: Path) -> dict[str, Any]:
    Tokenizer.from_folder(source)  # says what is wrong with it
    content: dict[str, Any] = json.loads((source / TOKENIZER_FILE).read_bytes())
    return content


def _xgen_ids(source: Path) -> tuple[dict[str, Any], list[str]]:
    right: dict[str, Any] = {"bos_token_id": _XGEN_END, "eos_token_id": _XGEN_END, "pad_token_id": None}
    truth = f"XGen begins and ends with {_XGEN_END}, {END_OF_TEXT}, and no token pads"
    corrections = []
    for name in (CONFIG_FILE, GENERATION_FILE):
        table = read_json(source / name) if (source / name).is_file() else {}
        wrong = [f"{field} {table[field]}" for field in right if table.get(field) not in (right[field], None)]
        if wrong:
            corrections.append(f"{name} says {', '.join(wrong)}, but {truth}")
    return {"bos_token_id": _XGEN_END, "eos_token_id": _XGEN_END}, corrections


def _settings(source: Path, settings: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settings without code of others, the chat template in them."""
    settings = without_code(settings)
    path = source / TEMPLATE_FILE
    if path.is_file() or settings.get("chat_template") is not None:
        settings["chat_template"] = ChatTemplate.from_folder(source).source
        return settings, []
    said = "it brings no chat template, so turns are marked as in ChatML"
    return settings | {"chat_template": CHATML}, [said]


def _ids(source: Path, shape: Shape, settings: dict[str, Any], tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The ids as generation_config.json, else config.json, else the tokenizer's settings say."""
    tables = [
        read_json(source / name) for name in (GENERATION_FILE, CONFIG_FILE) if (source / name).is_file()
    ]
    by_text = {token.get("content"): token.get("id") for token in tokenizer.get("added_tokens", [])}
    ids = {}
    for field in _ID_FIELDS:
        said = settings.get(field.removesuffix("_id"))
        text = said.get("content") if isinstance(said, dict) else said
        own = by_text.get(text) if isinstance(text, str) else None
        value = next((table[field] for table in tables if table.get(field) is not None), own)
        if value is None or (field == "pad_token_id" and value == -1):
            continue
        values = value if isinstance(value, list) else [value]
        if not values or not all(type(i) is int and 0 <= i < shape.vocab_size for i in values):
            raise BadModel(
                str(source), f"{field} is {value!r}, not of its {shape.vocab_size:,} ids", "mend it"
            )
        ids[field] = value
    if "eos_token_id" not in ids:
        raise BadModel(str(source), "no eos_token_id says what ends a reply", "say it in its config.json")
    return ids


def _readme(source: Path) -> str | None:
    path = source / "README.md"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
