"""Long documents, plain text and ordinary requests: what the table (table.py) asks beside short questions.

FairytaleQA and COVID-QA are asked as the product answers, SQuALITY, QMSum and SciTLDR as summaries that the
model writes itself; each with 8K tokens of the document visible, or with the last 2K of those only.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import questions as qs
import summaries

if TYPE_CHECKING:
    from xgen.read.reader import Reader

REQUESTS = (
    "Write a haiku about rain.",
    "What is the capital of Australia?",
    "Explain recursion to a child in two sentences.",
    "Write a Python function that reverses a string.",
    "Give me three ideas for a birthday present for my father.",
    "Translate into French: The train leaves at nine.",
    "What is 17 times 6?",
    "Write a polite e-mail that declines an invitation.",
    "List the planets of the solar system.",
    "Wie viele Einwohner hat Berlin ungefähr?",
)
BESIDE_TOKENS = 512  # of a window, for the request and the summary
PLAIN_TOKENS = 800


class Cut(Protocol):
    """How much of a text is visible: "head" or "tail" of a window in tokens."""

    read: str
    window: int | None


def cases(file: Path, limit: int | None) -> list[qs.Case]:
    """Every question of a set with its answers, whether they stand in the text or not."""
    found: list[tuple[str, qs.Case]] = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            asked = []
            for q in line["questions"]:
                texts = [a["text"] for a in q["answers"]] + [_text(a) for a in q.get("other_answers", [])]
                golds = tuple(qs.Gold(text, -1) for text in texts)
                asked.append(qs.Asked(qs.Question(q["id"], q["question"], golds), line["id"], None))
            found.append((line["id"], qs.Case(line["lang"], line["text"], tuple(asked))))
    if limit is None:
        return [case for _, case in found]
    n_each = max(1, -(-limit // len(found)))  # as many of each document
    drawn = []
    for _, case in found:
        few = sorted(case.asked, key=lambda a: qs.by_hash("long", a.question.id))[:n_each]
        drawn.append(replace(case, asked=tuple(few)))
    return drawn


def _text(answer: Any) -> str:
    return answer["text"] if isinstance(answer, dict) else str(answer)


def tasks(folder: Path, name: str, limit: int | None) -> list[summaries.Task]:
    """What is to be summarized."""
    return summaries.tasks(folder, name, limit, lambda text: True)


def summary(reader: "Reader", line: Cut, task: summaries.Task) -> Iterator[dict[str, Any]]:
    """What the model writes of the part that it may see."""
    cut = replace(task, text=visible(reader, task.text, line))
    said = " ".join(summaries.free(reader.bundle)(cut).split()[: task.n_words])
    yield {
        "id": f"{task.id} {task.question}".strip(),
        "lang": task.lang,
        "document": task.id,
        "gold": list(task.references),
        "answer": said,
        "found": True,
    }


def visible(reader: "Reader", text: str, line: Cut) -> str:
    """The first or the last tokens of a text that a window holds beside a request."""
    _, places = reader.bundle.tokenizer.encode_with_offsets(text)
    room = (line.window or len(places) + BESIDE_TOKENS) - BESIDE_TOKENS
    if len(places) <= room:
        return text
    return text[: places[room - 1][1]] if line.read == "head" else text[places[-room][0] :]


def reply(reader: "Reader", text: str, tokens: int) -> Iterator[dict[str, Any]]:
    """The likeliest reply to an ordinary request."""
    said = "".join(reader.chat().send(text, tokens))
    yield {"id": text, "lang": "", "document": text, "question": text, "gold": [], "answer": said}


def loss(reader: "Reader", text: str, tokens: int) -> Iterator[dict[str, Any]]:
    """Nats that the tokens of a plain text cost, each given those before it: all but the first."""
    from xgen.engine.cache import Cache
    from xgen.engine.score import prefill_scored

    ids = reader.bundle.tokenizer.encode(text)[:PLAIN_TOKENS]
    _, logprobs = prefill_scored(reader.bundle.model, Cache.empty(reader.bundle.model, len(ids)), ids)
    yield {"id": text[:40], "document": text[:40], "nats": -float(logprobs.sum()), "n_tokens": len(logprobs)}
