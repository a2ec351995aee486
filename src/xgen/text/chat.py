"""A conversation to a prompt, through the model's own chat template, with what people wrote kept apart.

The template never sees a message's words. It is given placeholders, and the words take their places
after it has run, marked as data: nothing in them can become a turn of the conversation.
"""

import json
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.sandbox

from xgen.errors import BadModel, XgenError

ROLES = ("system", "user", "assistant")
TEMPLATE_FILE = "chat_template.jinja"
SETTINGS_FILE = "tokenizer_config.json"
_LARGEST_FILE_BYTES = 1 << 24
# No template holds a NUL (refused), so this stands in its output only where a content was put.
_PLACEHOLDER = "\0{}\0"
_PLACE = re.compile("\0([0-9]+)\0")
_WAY_OUT = "use a model with a plain chat template, such as those that `xgen models` lists"


@dataclass(frozen=True)
class Message:
    """One turn: `role` is system, user or assistant; `content` is any text, never trusted."""

    role: str
    content: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a prompt: `markup` written by the chat template, or a message's own words."""

    text: str
    markup: bool


class ChatTemplate:
    """A Jinja chat template in the form the field uses (Hugging Face's), run in a sandbox."""

    def __init__(self, source: str, bos_token: str = "", eos_token: str = "", where: str = "chat template"):
        """`where` names the template in errors. BadModel if it is not a Jinja template.

        `bos_token` and `eos_token` are the texts of the tokens that begin and end a text, "" for none.
        """
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        self.source, self.eos_token = source, eos_token
        self._where = where
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        if "\0" in source + bos_token + eos_token:
            raise BadModel(where, "it holds a NUL character", _WAY_OUT)
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise BadModel(where, f"not a chat template ({error})", _WAY_OUT) from error

    @classmethod
    def from_folder(cls, folder: Path) -> "ChatTemplate":
        """From chat_template.jinja or tokenizer_config.json; BadModel if neither holds a template."""
        settings = _settings(folder / SETTINGS_FILE)
        source = settings.get("chat_template")
        path = folder / TEMPLATE_FILE
        if path.is_file():
            source = _read(path)
        elif isinstance(source, list):  # an older form: named templates
            source = {item.get("name"): item.get("template") for item in source}.get("default")
        if not isinstance(source, str):
            raise BadModel(str(folder), "it has no chat template", _WAY_OUT)
        bos_token, eos_token = (_token_text(settings.get(key)) for key in ("bos_token", "eos_token"))
        return cls(source, bos_token, eos_token, where=f"chat template of {folder}")

    def render(self, messages: Sequence[Message]) -> list[Piece]:
        """Pieces of the prompt for the conversation, ready for the assistant's next turn.

        A content is one `markup=False` piece, as it is: a template that changes contents (trims them,
        say) does not reach it. Raises BadModel if the template fails, or does not put every content
        exactly once, in order.
        """
        for message in messages:
            if message.role not in ROLES:
                what = f"the role {message.role!r} is not known"
                raise XgenError("conversation", what, "use one of " + ", ".join(ROLES))
        turns = [
            {"role": message.role, "content": _PLACEHOLDER.format(index)}
            for index, message in enumerate(messages)
        ]
        try:
            text = self._template.render(messages=turns, add_generation_prompt=True, **self._tokens)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise BadModel(self._where, f"it refuses the conversation ({error})", _WAY_OUT) from error
        parts = _PLACE.split(text)
        if [int(index) for index in parts[1::2]] != list(range(len(messages))) or "\0" in "".join(parts):
            raise BadModel(self._where, "it does not put every message exactly once", _WAY_OUT)
        pieces = [Piece(parts[0], markup=True)]
        for message, after in zip(messages, parts[2::2], strict=True):
            pieces += [Piece(message.content, markup=False), Piece(after, markup=True)]
        return [piece for piece in pieces if piece.text]

    def headers(self, added_tokens: Collection[str]) -> tuple[str, ...]:
        """The ordinary text that begins a turn, where no added token does: `### Human:`, say.

        A header is the last line before a turn's words, or before the reply that is asked for. None for a
        template that cannot hold a conversation.
        """
        asked = [Message("user", "x"), Message("assistant", "x"), Message("user", "x")]
        marks: list[str] = []
        for messages in (asked, [Message("system", "x"), *asked]):
            with suppress(BadModel):
                pieces = [piece for piece in self.render(messages) if piece != Piece("x", markup=False)]
                marks += [piece.text for piece in pieces]
        plain = [mark for mark in marks if not any(token in mark for token in added_tokens)]
        lines = (mark.strip().rpartition("\n")[2].strip() for mark in plain)
        return tuple(dict.fromkeys(line for line in lines if line))

    @cached_property
    def reply_opening(self) -> str:
        """What stands between the end of a prompt and a reply in later turns: the model itself writes it.

        Nothing for most templates, ` Assistant: ` for XGen's.
        """
        asked = [Message("user", "x")]
        try:
            prompt = "".join(piece.text for piece in self.render(asked))
            turns = "".join(piece.text for piece in self.render([*asked, Message("assistant", "\ufffd")]))
        except BadModel:
            return ""
        before = turns.partition("\ufffd")[0]
        opening = before.removeprefix(prompt) if before.startswith(prompt) else ""
        return opening if opening.strip() else ""

    def reply_begun(self, words: str) -> list[Piece]:
        """What goes behind a prompt so that the reply begins with `words`, if there are any.

        Without words white space at its end is left to the model, which joins it with its first word.
        """
        before = self.reply_opening if words else self.reply_opening.rstrip()
        pieces = Piece(before, markup=True), Piece(words, markup=False)
        return [piece for piece in pieces if piece.text]


def _tojson(value: Any, indent: int | None = None) -> str:
    """As templates expect it: Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _token_text(token: Any) -> str:
    """A token of the settings: its text, or a table with its text, or none."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        settings = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise BadModel(str(path), f"it is not JSON ({error})", "bring the file again") from error
    return settings if isinstance(settings, dict) else {}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
        if len(data) > _LARGEST_FILE_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_FILE_BYTES} bytes")
        return data.decode()
    except (OSError, ValueError) as error:
        raise BadModel(str(path), f"it cannot be read ({error})", "bring the file again") from error
