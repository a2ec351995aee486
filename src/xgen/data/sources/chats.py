"""A user's own conversations: JSON lines with `messages`, the form of the field's tuning files.

A document's text is the conversation's JSON; what of it is trained is decided where it becomes ids.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xgen.data.document import Document, Rejected
from xgen.data.recipe import SourceSpec
from xgen.data.sources.jsonl import SHOWN_CHARACTERS, download, files_of, records

__all__ = ["documents", "download"]


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """A conversation a line. Licence and language are the line's, else the recipe's.

    Reasons of rejection: those of jsonl, no_messages, message_without_role, message_without_content,
    no_licence_stated.
    """
    for path in files_of(spec):
        for n, record, fault, line in records(path):
            name = f"{path.name}:{n}"
            tongue = spec.language or _word(record.get("language"))
            licence = _word(record.get("licence")) or spec.licence
            reason = fault or _fault(record) or ("" if licence else "no_licence_stated")
            if reason:
                shown = line or json.dumps(record, ensure_ascii=False)
                yield Rejected(spec.name, name, tongue, reason, shown[:SHOWN_CHARACTERS])
            else:
                yield Document(json.dumps(record, ensure_ascii=False), spec.name, name, licence, tongue)


def _fault(record: dict[str, Any]) -> str:
    messages = record.get("messages")
    if not isinstance(messages, list) or not messages:
        return "no_messages"
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return "message_without_role"
        if not isinstance(message.get("content"), str):
            return "message_without_content"
    return ""


def _word(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
