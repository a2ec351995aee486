"""Conversations and questions to records of a tuning set: what of a portion is trained, what is rejected."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xgen.data.chats import TuningRecord, chat_records
from xgen.data.document import Document, Rejected
from xgen.data.encode import Portion
from xgen.data.groups import GroupOptions, ReadingWords, group_records
from xgen.data.recipe import GROUPS
from xgen.files import whole_file
from xgen.text.chat import SETTINGS_FILE, TEMPLATE_FILE, ChatTemplate
from xgen.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Manner:
    """How tuning data are put: the words of reading, and the source of a chat template (Jinja).

    The template is for a learned tokenizer: that of a pulled model comes with the model's own.
    """

    template: str
    words: ReadingWords


@dataclass(frozen=True)
class Records:
    """The records of a portion, and what was rejected on the way."""

    records: list[TuningRecord]
    held: list[bool]
    rejected: list[Rejected]


def template_of(tokenizer_folder: Path, manner: Manner) -> ChatTemplate:
    """The chat template in the folder of a model's tokenizer, else the manner's."""
    has_own = any((tokenizer_folder / name).exists() for name in (TEMPLATE_FILE, SETTINGS_FILE))
    return ChatTemplate.from_folder(tokenizer_folder) if has_own else ChatTemplate(manner.template)


def encode_tuning(
    portion: Portion,
    held_rows: frozenset[int],
    tokenizer_folder: Path,
    manner: Manner,
    options: GroupOptions,
    path: Path,
) -> None:
    """Write the records of a portion to `path`, whole or not at all.

    Documents are parted into trained and held out before groups are made of them: no group has both.
    """
    template = template_of(tokenizer_folder, manner)
    tokenizer = Tokenizer.from_folder(tokenizer_folder, template)
    parted: tuple[list[Document], list[Document]] = ([], [])
    for row, document in zip(portion.rows.tolist(), portion.documents(), strict=True):
        parted[row in held_rows].append(document)
    ids, trained, parts = [np.zeros(0, np.uint32)], [np.zeros(0, np.uint8)], [np.zeros(0, np.int32)]
    entries: list[dict[str, Any]] = []
    rejected: list[dict[str, str]] = []
    for is_held, documents in enumerate(parted):
        found: Iterator[TuningRecord | Rejected] = (
            group_records(documents, tokenizer, template, manner.words, options)
            if portion.set in GROUPS
            else chat_records(documents, tokenizer, template)
        )
        for record in found:
            if isinstance(record, Rejected):
                rejected.append(asdict(record))
                continue
            ids.append(np.asarray(record.ids, np.uint32))
            trained.append(np.asarray(record.trained, np.uint8))
            parts.append(np.asarray(record.parts, np.int32))
            counts = {"held": is_held, "ids": len(record.ids), "parts": len(record.parts)}
            entries.append(asdict(record.document) | counts)
    about = json.dumps({"records": entries, "rejected": rejected}, ensure_ascii=False)
    with whole_file(path) as draft, draft.open("wb") as file:
        np.savez(
            file,
            ids=np.concatenate(ids),
            trained=np.concatenate(trained),
            parts=np.concatenate(parts),
            about=np.frombuffer(about.encode("utf-8", "replace"), np.uint8),
        )


def read_tuning(path: Path) -> Records:
    """What `encode_tuning` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        ids, trained, parts = arrays["ids"], arrays["trained"], arrays["parts"]
        about = json.loads(arrays["about"].tobytes())
    records: list[TuningRecord] = []
    held: list[bool] = []
    start = first = 0
    for entry in about["records"]:
        held.append(bool(entry.pop("held")))
        end, last = start + entry.pop("ids"), first + entry.pop("parts")
        own = ids[start:end], trained[start:end], parts[first:last].tolist()
        records.append(TuningRecord(Document(**entry), *own))
        start, first = end, last
    return Records(records, held, [Rejected(**entry) for entry in about["rejected"]])


def whole_rejections(records: Sequence[Rejected], documents: Sequence[Document]) -> dict[str, Rejected]:
    """Those rejections that are of a whole document, by its id; the others are of a part of one."""
    names = {document.id for document in documents}
    return {record.id: record for record in records if record.id in names}
