"""Text to ids and back, over a tokenizer.json of a byte-level BPE, where text is only ever data.

The library tokenizers finds added tokens (<|im_end|>, <tool_call>, ...) wherever their spelling stands.
Here they are taken out of it: a document that spells one gets ordinary ids, and only what the chat
template itself writes (`Piece.markup`) can become one. So it is with turns that ordinary text marks
(headers.py).
"""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from xgen.errors import BadModel
from xgen.text.chat import ChatTemplate, Piece
from xgen.text.headers import Headers, Span
from xgen.text.ranked import ranked_encoding

TOKENIZER_FILE = "tokenizer.json"
_LARGEST_FILE_BYTES = 1 << 27
_WAY_OUT = "use a model with a byte-level BPE tokenizer, such as those that `xgen models` lists"
_SURROGATES = re.compile("[\ud800-\udfff]")


def replace_surrogates(text: str) -> tuple[str, int]:
    """Put U+FFFD for every lone surrogate, which no UTF-8 can hold; also returns how many there were.

    Lengths and offsets stay. `Tokenizer.encode` does it too; whoever opens a document can say the number.
    """
    try:
        text.encode()  # a tenth of the time that the search takes
    except UnicodeEncodeError:
        return _SURROGATES.subn("\ufffd", text)
    return text, 0


class Tokenizer:
    """A byte-level BPE. `vocab_size` counts its ids; the model may have more rows than that.

    `special_ids` holds every added token by its text, special or not; `turn_headers` are the ordinary text
    that begins turns, where the chat template has such.
    """

    vocab_size: int
    special_ids: dict[str, int]
    turn_headers: tuple[str, ...]

    def __init__(self, data: dict[str, Any], template: ChatTemplate | None = None) -> None:
        """From the content of a tokenizer.json; ValueError or KeyError if it is not a byte-level BPE.

        `template` is the one whose turns no text may begin.
        """
        self.special_ids = {token["content"]: token["id"] for token in data.get("added_tokens", [])}
        _require_byte_level(data)
        vocab = {text: i for text, i in data["model"]["vocab"].items() if text not in self.special_ids}
        model = data["model"] | {"vocab": vocab}
        plain = data | {"added_tokens": [], "post_processor": None, "model": model}
        try:
            self._plain = tokenizers.Tokenizer.from_str(json.dumps(plain))
        except Exception as error:  # the library raises plain Exception
            raise ValueError(str(error)) from error
        self._spelt = {index: text.encode() for text, index in self.special_ids.items()}
        self.vocab_size = 1 + max([*vocab.values(), *self.special_ids.values()], default=-1)
        self._bytes = [b""] * self.vocab_size
        for text, index in vocab.items():
            self._bytes[index] = bytes(_BYTE_OF[character] for character in text)
        self._lengths = np.array([len(token) for token in self._bytes])
        id_of = {self._bytes[index]: index for index in vocab.values()}
        self._ranked = ranked_encoding(data, id_of)
        self.turn_headers = template.headers(self.special_ids) if template else ()
        begun = (self._ids(start + header) for header in self.turn_headers for start in ("", " "))
        self._headers = Headers(tuple(map(tuple, begun)), self._bytes, id_of)
        spellings = sorted(self.special_ids, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, spellings)) or "(?!)")

    @cached_property
    def identity(self) -> str:
        """Tells it from all others that give a text other tokens or other places of them."""
        said = [self._plain.to_str(), sorted(self.special_ids.items()), self.turn_headers]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @classmethod
    def from_folder(cls, folder: Path, template: ChatTemplate | None = None) -> "Tokenizer":
        """The tokenizer.json of a model folder; BadModel if it is missing or of another kind.

        `template` as in the constructor, by default the folder's own if it has one.
        """
        path = folder / TOKENIZER_FILE
        with suppress(BadModel):  # who wants to chat is told
            template = template or ChatTemplate.from_folder(folder)
        try:
            with path.open("rb") as file:
                raw = file.read(_LARGEST_FILE_BYTES + 1)
            if len(raw) > _LARGEST_FILE_BYTES:
                raise ValueError(f"it is larger than {_LARGEST_FILE_BYTES} bytes")
            return cls(json.loads(raw), template)
        except FileNotFoundError as error:
            raise BadModel(str(folder), f"it has no {TOKENIZER_FILE}", _WAY_OUT) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = f"its tokenizer cannot be used ({type(error).__name__}: {error})"
            raise BadModel(str(path), what, _WAY_OUT) from error

    def encode(self, text: str) -> list[int]:
        """Ids of `text` as data: no added token's id ever comes out, and no ids of a turn's header.

        Lone surrogates count as U+FFFD. XgenError for a header that nothing but its ids can write.
        A byte that the vocabulary has no token for leaves no id, as in llama.cpp; of the models listed
        only smollm2 has such: six control characters and the unassigned planes of Unicode.
        """
        ids = self._ids(replace_surrogates(text)[0])
        return self.encode_with_offsets(text)[0] if self._headers.stand_in(ids) else ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text as `encode`; faster for many, on all cores the library may use."""
        if self._ranked is not None or self._headers.ids:
            return [self.encode(text) for text in texts]
        cleaned = [replace_surrogates(text)[0] for text in texts]
        return [found.ids for found in self._plain.encode_batch_fast(cleaned)]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids as `encode`, and for each the characters [start, end) of `text` it comes from.

        Tokens that share a character (an emoji of two tokens) name it both.
        """
        return self._headers.break_up(*self._with_offsets(replace_surrogates(text)[0]), markup=())

    def encode_markup(self, pieces: Sequence[Piece]) -> list[int]:
        """Ids of a rendered prompt: added tokens and headers of turns come from markup pieces alone.

        What stands between two added tokens is encoded as one stretch, wherever its pieces meet, so that
        harmless messages get the ids that the whole text would.
        """
        ids: list[int] = []
        stretch: list[Piece] = []

        def close() -> None:
            ids.extend(self._stretch(stretch))
            stretch.clear()

        for piece in pieces:
            if not piece.markup:
                stretch.append(piece)
                continue
            if piece.text.startswith(self.turn_headers):  # nothing may grow into it
                close()
            end = 0
            for match in self._special.finditer(piece.text):
                stretch.append(Piece(piece.text[end : match.start()], markup=True))
                close()
                ids.append(self.special_ids[match.group()])
                end = match.end()
            stretch.append(Piece(piece.text[end:], markup=True))
            if piece.text.endswith(self.turn_headers):
                close()
        close()
        return ids

    def _stretch(self, pieces: Sequence[Piece]) -> list[int]:
        text = replace_surrogates("".join(piece.text for piece in pieces))[0]
        if not self._headers.stand_in(ids := self._ids(text)):
            return ids
        markup: list[Span] = []
        end = 0
        for is_markup, joined in groupby(pieces, key=lambda piece: piece.markup):
            start, end = end, end + sum(len(piece.text) for piece in joined)
            markup += [(start, end)] if is_markup else []
        return self._headers.break_up(*self._with_offsets(text), markup)[0]

    def _ids(self, text: str) -> list[int]:
        if self._ranked is not None:
            return self._ranked(text)
        ids: list[int] = self._plain.encode(text).ids
        return ids

    def _with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        if self._ranked is None:
            found = self._plain.encode(text)
            return found.ids, found.offsets
        ids = self._ranked(text)
        data = np.frombuffer(text.encode(), np.uint8)
        lengths = self._lengths[ids]
        ends = lengths.cumsum()
        character_of = ((data & 0xC0) != 0x80).cumsum()  # how many have begun with this byte
        starts = character_of[ends - lengths] - 1
        return ids, list(zip(starts.tolist(), character_of[ends - 1].tolist(), strict=True))

    def decode(self, ids: Iterable[int], markup: bool = False) -> str:
        """Text of `ids`; bytes that are no UTF-8 become U+FFFD.

        Added tokens are left out, or with `markup` spelt. ValueError for an id that has no text at all,
        which no encoding gives and which is never to be sampled: what it stood for would be lost.
        """
        shown = self._spelt if markup else {}
        return b"".join(shown.get(i) or self._known_bytes(i) for i in ids).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that an id stands for; b"" for added tokens and for rows without a token."""
        return self._bytes[token_id] if 0 <= token_id < self.vocab_size else b""

    def _known_bytes(self, token_id: int) -> bytes:
        found = self.token_bytes(token_id)
        if not found and token_id not in self._spelt:
            raise ValueError(f"the id {token_id} has no text in this vocabulary")
        return found

    def stream(self) -> "Stream":
        """A function to be fed one id after another."""
        return Stream(self)


class Stream:
    """Feed it an id, get the text that is certain now: never half a character.

    The pieces and then `rest()` joined are what `decode` gives for all the ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, token_id: int) -> str:
        """The text that `token_id` completes, often its own, sometimes none yet."""
        return self._decoder.decode(self._tokenizer._known_bytes(token_id))

    def rest(self) -> str:
        """What remains at the end: U+FFFD if the last character was never finished, else nothing."""
        return self._decoder.decode(b"", final=True)


def _require_byte_level(data: dict[str, Any]) -> None:
    model, decoder = data["model"], data.get("decoder") or {}
    steps = data.get("pre_tokenizer") or {}
    parts = steps.get("pretokenizers", [steps])
    if model["type"] != "BPE" or model.get("byte_fallback") or model.get("dropout"):
        raise ValueError(f"it is {model['type']}, not a byte-level BPE")
    if decoder.get("type") != "ByteLevel" or not any(part.get("type") == "ByteLevel" for part in parts):
        raise ValueError("it does not work on bytes")
    if any(part.get("add_prefix_space") for part in parts):
        raise ValueError("it puts a space in front of a text")


def _spelling() -> list[str]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


SPELLING = _spelling()
"""GPT-2's spelling of bytes: printable Latin-1 as itself, the others from U+0100 on in their order."""
_BYTE_OF = {character: byte for byte, character in enumerate(SPELLING)}
