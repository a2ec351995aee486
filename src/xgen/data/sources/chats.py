"""A user's own tuning data, a line each: conversations (`messages`), or documents with questions.

A document's text is the line's JSON. What of it is trained, and what of it cannot be, is decided where it
becomes ids (data/chats.py, data/groups.py): nothing else is checked here.
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
    """A record a line, its id STEM/ID (the file's name without endings, the record's own id), else STEM:LINE.

    Licence and language are the line's (`licence`; `language` or `lang`), else the recipe's. Reasons of
    rejection: those of jsonl, no_licence_stated.
    """
    for path in files_of(spec):
        stem = path.name.partition(".jsonl")[0]
        for n, record, fault, line in records(path):
            own = _word(record.get("id"))
            name = f"{stem}/{own}" if own else f"{stem}:{n}"
            tongue = spec.language or _word(record.get("language")) or _word(record.get("lang"))
            licence = _word(record.get("licence")) or spec.licence
            reason = fault or ("" if licence else "no_licence_stated")
            if reason:
                shown = line or json.dumps(record, ensure_ascii=False)
                yield Rejected(spec.name, name, tongue, reason, shown[:SHOWN_CHARACTERS])
            else:
                yield Document(json.dumps(record, ensure_ascii=False), spec.name, name, licence, tongue)


def _word(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
