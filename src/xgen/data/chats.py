"""Conversations as they are trained: ids by the model's own chat template, and which of them are learned.

Only what the assistant says is learned, and the token that ends its turn: one that the template writes, else
the end of the text behind the last reply, as XGen's has it. A conversation is a JSON object
with `messages`, the form that the field's tuning files have:

    {"messages": [{"role": "system", "content": "..."}, {"role": "user", "content": "..."},
                  {"role": "assistant", "content": "..."}]}

A message may say `"weight": 0`, which takes a reply out of what is learned. Text is data: nothing in it
becomes a turn or a special token. What a conversation holds beyond this is not dropped but refused.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgen.data.document import Document, Rejected
from xgen.errors import BadModel, BadRecipe
from xgen.text.chat import ROLES, SETTINGS_FILE, ChatTemplate, Message, Piece
from xgen.text.tokenizer import Tokenizer

UNKNOWN_LANGUAGE = "und"
"""ISO 639-2's word for what nobody said."""

_SHOWN_CHARACTERS = 1000
_WITH_TOOLS = ("tools", "functions")


Numbers = Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class TuningRecord:
    """A record of a tuning set.

    `document` has the words of it as plain text; `trained` says of each id, 1 or 0, whether the loss counts
    it; `parts` are the lengths of its parts: the first is what all see, each other one sees it and itself.
    """

    document: Document
    ids: Numbers
    trained: Numbers
    parts: Sequence[int]


class Fault(ValueError):
    """Why a record cannot be trained on, in a word for counting."""


def chat_records(
    documents: Iterable[Document | Rejected], tokenizer: Tokenizer, template: ChatTemplate
) -> Iterator[TuningRecord | Rejected]:
    """Each conversation as a record of one part; `text` of a document is its JSON.

    What cannot be trained on is Rejected: not_json, no_messages, unknown_role, unknown_field, bad_weight,
    content_not_text, empty_turn, no_reply (none is learned), ends_without_reply, tools,
    template_refuses. BadModel if nothing ends a reply, as in `end_of_reply`.
    """
    for document in documents:
        if isinstance(document, Rejected):
            yield document
            continue
        try:
            messages, learned = _conversation(document.text)
            ids, trained = encode_chat(messages, learned, tokenizer, template)
        except Fault as fault:
            yield rejected(document, str(fault), document.text)
            continue
        words = "\n\n".join(message.content for message in messages)
        language = document.language or UNKNOWN_LANGUAGE
        yield TuningRecord(replace(document, text=words, language=language), ids, trained, [len(ids)])


def encode_chat(
    messages: Sequence[Message], learned: Sequence[bool], tokenizer: Tokenizer, template: ChatTemplate
) -> tuple[list[int], list[int]]:
    """Ids of a conversation up to the end of its last reply, and 1 for those that are learned, else 0.

    Ids of a reply are those that a model writes: nothing of it is joined with what stands before it, as the
    whole text's tokens might be; what the model itself writes before its words (ChatTemplate.reply_opening)
    is a part of it. Contents must not be empty, the last message is the assistant's. Fault if the template
    refuses the conversation, BadModel if nothing ends a reply, as in `end_of_reply`.
    """
    try:
        pieces = template.render(messages)
    except BadModel as error:
        raise Fault("template_refuses") from error
    ids: list[int] = []
    trained: list[int] = []

    def close(pieces: Sequence[Piece], flag: int) -> None:
        added = tokenizer.encode_markup(pieces)
        ids.extend(added)
        trained.extend([flag] * len(added))

    first, *others = _markup_around(pieces)
    before, opening = [Piece(first, markup=True)], template.reply_opening
    for i, (message, is_learned, after) in enumerate(zip(messages, learned, others, strict=True)):
        content = Piece(message.content, markup=False)
        if message.role != "assistant":
            before += [content, Piece(after, markup=True)]
            continue
        end = _end_of_turn(after, tokenizer)
        # In a prompt of several turns no end of the text stands between them, so that none is learned there.
        closing = after[:end] if end else _end_of_text(tokenizer, template) * (i == len(messages) - 1)
        begun = opening if before[-1].text.endswith(opening) else ""
        close([*before[:-1], Piece(before[-1].text.removesuffix(begun), markup=True)], 0)
        close([Piece(begun, markup=True), content, Piece(closing, markup=True)], int(is_learned))
        before = [Piece(after[end:], markup=True)]
    return ids, trained


def end_of_reply(tokenizer: Tokenizer, template: ChatTemplate) -> Piece:
    """What stands behind a reply up to the token that ends the turn, else the token that ends a text.

    BadModel if the template writes no added token there and its folder names no end of a text.
    """
    after = _markup_around(template.render([Message("user", "x"), Message("assistant", "x")]))[-1]
    end = _end_of_turn(after, tokenizer)
    return Piece(after[:end] if end else _end_of_text(tokenizer, template), markup=True)


def rejected(document: Document, reason: str, text: str, part: str = "") -> Rejected:
    """The document, or a `part` of it, as one that does not come into a corpus."""
    name = f"{document.id}#{part}" if part else document.id
    return Rejected(document.source, name, document.language, reason, text[:_SHOWN_CHARACTERS])


def held_back(path: Path) -> frozenset[str]:
    """The ids "FILE/ID" of documents that no training may see, listed in a JSON file as {FILE: {ID: ...}}.

    FILE is a file's name without its endings. BadRecipe if the file is missing or of another form.
    """
    try:
        table = json.loads(path.read_bytes())
        return frozenset(f"{name}/{document}" for name, listed in table.items() for document in listed)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        way_out = "name a JSON file like {file: {document: ...}}"
        raise BadRecipe(str(path), f"no list of documents held back ({reason})", way_out) from error


def parse(text: str) -> dict[str, Any]:
    """The table that a line of JSON is; Fault otherwise."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Fault("not_json") from error
    if not isinstance(value, dict):
        raise Fault("not_json")
    return value


def _conversation(text: str) -> tuple[list[Message], list[bool]]:
    """The messages of a line, and which of them are learned."""
    table = parse(text)
    turns = table.get("messages")
    if not isinstance(turns, list) or not turns:
        raise Fault("no_messages")
    if any(table.get(key) for key in _WITH_TOOLS):  # a template would write them into the prompt
        raise Fault("tools")
    messages, learned = [], []
    for turn in turns:
        message, is_learned = _turn(turn)
        messages.append(message)
        learned.append(is_learned)
    if messages[-1].role != "assistant":
        raise Fault("ends_without_reply")
    if not any(learned):
        raise Fault("no_reply")
    return messages, learned


def _turn(turn: object) -> tuple[Message, bool]:
    if not isinstance(turn, dict):
        raise Fault("no_messages")
    role, content, weight = turn.get("role"), turn.get("content"), turn.get("weight", 1)
    if not isinstance(role, str) or role not in ROLES:
        raise Fault("unknown_role")
    if any(key not in ("role", "content", "weight") and value for key, value in turn.items()):
        raise Fault("unknown_field")
    if not isinstance(content, str):
        raise Fault("content_not_text")
    if not content.strip():
        raise Fault("empty_turn")
    if weight not in (0, 1):
        raise Fault("bad_weight")
    return Message(role, content), role == "assistant" and bool(weight)


def _markup_around(pieces: Sequence[Piece]) -> list[str]:
    """The markup before, between and after the contents of a rendered conversation."""
    marks = [""]
    for piece in pieces:
        if piece.markup:
            marks[-1] += piece.text
        else:
            marks.append("")
    return marks


def _end_of_turn(after: str, tokenizer: Tokenizer) -> int:
    """Where the first added token in the markup behind a reply ends; 0 if there is none."""
    places = [(after.find(token), -len(token)) for token in tokenizer.special_ids if token in after]
    start, length = min(places, default=(0, 0))
    return start - length


def _end_of_text(tokenizer: Tokenizer, template: ChatTemplate) -> str:
    """The token that ends a text; BadModel if there is none."""
    if template.eos_token not in tokenizer.special_ids:
        what = "it ends a reply with no token, so that a model could not learn to stop"
        way_out = f"name an added token as eos_token in {SETTINGS_FILE}, or use a template such as ChatML"
        raise BadModel("chat template", what, way_out)
    return template.eos_token
