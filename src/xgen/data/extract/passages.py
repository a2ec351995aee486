"""Passages that a retriever put into the records of a question set: each sentence once, a record a text.

Such files (EXAMS' `with_paragraphs`) repeat a passage for every question that it was found for, often
several times in one; what is said once is enough to learn from.
"""

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

from xgen.errors import BadDocument
from xgen.text.sentences import sentence_spans

MAX_BYTES = 256 << 20  # unpacked; the largest file met has 30 MB


def extract_passages(path: str, data: bytes, field: str) -> list[tuple[str, str]]:
    """The texts at `field` ("question.choices.*.para") of a .jsonl, .jsonl.gz or .jsonl.tar.gz file.

    Each comes with "#" and the record's number, its sentences one a line, none that an earlier record
    had. Raises BadDocument if the file is damaged, too large, or holds no such field.
    """
    seen: set[str] = set()
    texts = []
    n_found = 0
    for n, line in enumerate(_unpacked(path, data).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found = list(_at(json.loads(line), field.split(".")))
        except (ValueError, RecursionError) as error:
            raise BadDocument(path, f"line {n} is not JSON ({error})", "leave it out") from error
        n_found += len(found)
        fresh = []
        for text in found:
            for start, end in sentence_spans(text):
                sentence = " ".join(text[start:end].split())
                if sentence not in seen:
                    seen.add(sentence)
                    fresh.append(sentence)
        if fresh:
            texts.append((f"#{n}", "\n".join(fresh)))
    if not n_found:
        raise BadDocument(path, f"no record has text at {field}", "mend `fields` in the recipe")
    return texts


def _unpacked(path: str, data: bytes) -> bytes:
    """The lines of all files in it, in the archive's order."""
    try:
        if path.endswith((".tar.gz", ".tgz")):
            with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
                parts = [_limited(path, archive.extractfile(entry)) for entry in archive if entry.isfile()]
            return b"\n".join(parts)
        if path.endswith(".gz"):
            return _limited(path, gzip.GzipFile(fileobj=io.BytesIO(data)))
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise BadDocument(path, f"it cannot be unpacked ({error})", "leave it out") from error
    return data


def _limited(path: str, file: Any) -> bytes:
    content: bytes = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise BadDocument(path, f"it unpacks to more than {MAX_BYTES >> 20} MiB", "split it")
    return content


def _at(value: Any, steps: list[str]) -> Iterator[str]:
    """The strings at a path of keys; "*" stands for each element of a list."""
    if not steps:
        if isinstance(value, str):
            yield value
    elif steps[0] == "*" and isinstance(value, list):
        for element in value:
            yield from _at(element, steps[1:])
    elif isinstance(value, dict) and steps[0] in value:
        yield from _at(value[steps[0]], steps[1:])
