"""Message catalogues: the translated sentences of programs, from gettext's .mo files and from JSON files.

Of each catalogue only what teaches a language is taken: sentences that differ from the English they
translate and are more than a label. They come as several short documents, so that no collection of
messages ever counts as a long text.
"""

import html
import json
import re
import struct
from collections.abc import Iterable, Iterator

from xgen.errors import BadDocument

MIN_LETTERS = 12  # in alphabets; a label of a word or two teaches nothing
MIN_WIDE_LETTERS = 6  # in Chinese and Japanese
MAX_DOCUMENT_CHARACTERS = 4_000

_MAGIC = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_LETTERS = re.compile(r"[^\W\d_]")
_CJK_ACCELERATOR = re.compile(r"\s?\([&_][A-Za-z0-9]\)")  # "(&F)" behind a word that has no such letter
_FORMAT = re.compile(
    r"%(?:\d+\$)?[-+ #0]*(?:\d+|\*)?(?:\.\d+)?(?:hh|ll|[hlLqjzt])?[a-zA-Z%]|%\(\w+\)[a-z]|%\d+|\$\w+|\{\w*\}"
)
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>")
_WIKI = re.compile(r"\{\{|\[\[|https?://|<|\$\{")


def extract_mo(data: bytes) -> list[str]:
    """Short documents of the translations in a .mo file (GNU gettext manual, "The Format of GNU MO Files").

    Raises BadDocument for a file that is none or whose offsets lead out of it.
    """
    try:
        pairs = list(_entries(data))
    except (struct.error, UnicodeDecodeError, LookupError, ValueError) as error:
        raise BadDocument("catalogue", f"it is not a .mo file ({error})", "leave it out") from error
    return _documents(
        _without_accelerator(form, original)
        for original, translation in pairs
        for form in translation.split("\0")  # of the plural
        if form not in original.split("\0")
    )


def extract_json(data: bytes) -> list[str]:
    """Short documents of the messages in a JSON object of key: text, as MediaWiki keeps them.

    Messages with wiki markup are left out, and keys that start with "@". Raises BadDocument if it is no
    such object.
    """
    try:
        messages = json.loads(data)
    except ValueError as error:
        raise BadDocument("catalogue", f"it is not JSON ({error})", "leave it out") from error
    if not isinstance(messages, dict):
        raise BadDocument("catalogue", "it is not a JSON object of messages", "leave it out")
    texts = [text for key, text in messages.items() if isinstance(text, str) and not key.startswith("@")]
    return _documents(text for text in texts if not _WIKI.search(text))


def _entries(data: bytes) -> Iterator[tuple[str, str]]:
    """(original, translation) of each entry but the header; context is taken off, plural forms are not."""
    order = _MAGIC.get(data[:4])
    if order is None:
        raise ValueError("no magic number")
    n_entries, originals, translations = struct.unpack_from(f"{order}3I", data, 8)
    charset = "utf-8"
    for i in range(n_entries):
        original = _string(data, order, originals + 8 * i)
        translation = _string(data, order, translations + 8 * i)
        if not original:  # the header
            found = re.search(rb"charset=([\w.:-]+)", translation)
            charset = found[1].decode("ascii") if found else charset
            continue
        yield original.decode(charset).rpartition("\4")[2], translation.decode(charset)


def _string(data: bytes, order: str, place: int) -> bytes:
    n_bytes, start = struct.unpack_from(f"{order}II", data, place)
    if start + n_bytes > len(data):
        raise ValueError("a string leads out of the file")
    return data[start : start + n_bytes]


def _documents(sentences: Iterable[str]) -> list[str]:
    documents: list[str] = []
    lines: list[str] = []
    n_characters = 0
    for sentence in dict.fromkeys(map(_plain, sentences)):
        if not _is_worth(sentence):
            continue
        lines.append(sentence)
        n_characters += len(sentence) + 1
        if n_characters >= MAX_DOCUMENT_CHARACTERS:
            documents.append("\n".join(lines))
            lines, n_characters = [], 0
    return [*documents, "\n".join(lines)] if lines else documents


def _without_accelerator(translation: str, original: str) -> str:
    """Take off the & or _ that marks a key; one in a name that the original has as well stays."""
    translation = _CJK_ACCELERATOR.sub("", translation)
    for mark in "&_":
        if translation.count(mark) == original.count(mark) == 1:
            marked = next(word for word in translation.split() if mark in word)
            if len(marked) > 1 and marked not in original:
                translation = translation.replace(mark, "")
    return translation


def _plain(message: str) -> str:
    """A message without its tags, each of its paragraphs on one line."""
    if "<" in message:
        message = _MARKUP.sub(" ", message)
    return "\n".join(" ".join(line.split()) for line in html.unescape(message).split("\n") if line.strip())


def _is_worth(sentence: str) -> bool:
    """More than a label, and more words than places for values."""
    bare = _FORMAT.sub(" ", sentence)
    n_wide = len(_WIDE.findall(bare))
    n_letters = len(_LETTERS.findall(bare))
    if n_wide * 3 > n_letters:
        return n_letters >= MIN_WIDE_LETTERS
    return (
        n_letters >= MIN_LETTERS
        and len(bare.split()) > 2
        and n_letters > 0.5 * len("".join(sentence.split()))
    )
