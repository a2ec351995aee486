"""Text made comparable, with the way back: every folded character knows which characters it stands for.

Two writings of the same words (a PDF's and a model's) differ in white space, quotation marks, hyphens,
ligatures, widths and composed accents. Folding takes these away and nothing else: letters keep their case.
"""

import re
import unicodedata
from dataclasses import dataclass

_DASHES = "\\-\u2010-\u2015\u2212\ufe58\ufe63\uff0d"
_SOFT_HYPHEN = "\u00ad"
# A dash, or a run of them, with the line break after it: "exam-\nple", "XGen-\n7B", "1940 -- 1942".
_DASH = re.compile(f"[{_DASHES}{_SOFT_HYPHEN}]+")
_LINE_BREAK = re.compile(r"[ \t]*[\n\r\x0b\x0c\x85\u2028\u2029]\s*")
_SPACE = re.compile(r"\s+")
# ASCII that folds to itself, single spaces included; never ends where a combining mark could follow.
_PLAIN = re.compile(r"[!-,.-_a-~]+(?: [!-,.-_a-~]+)*(?![^\x00-\x7f])")
_QUOTES = dict.fromkeys("“”„‟«»″‴「」『』", '"') | dict.fromkeys("‘’‚‛‹›`´ʼ′", "'")
_INVISIBLE = frozenset("\u200b\u200c\u200d\u2060\ufeff") | {chr(c) for c in range(0xFE00, 0xFE10)}


@dataclass(frozen=True)
class Folded:
    """`text` is the folded text; its character i stands for `original[starts[i]:ends[i]]`."""

    text: str
    starts: list[int]
    ends: list[int]


def fold(text: str) -> Folded:
    """Fold `text` for comparison.

    White space of any kind and length becomes one space, quotation marks become `"` or `'`, dashes
    become `-`. A hyphen between letters goes, with the line break after it, so that "exam-<break>ple",
    "example" with a soft hyphen and "example" are the same; after other characters only the break goes
    ("XGen-<break>7B"). The rest is Unicode NFKC (ligatures, full width, composed accents) and ASCII digits
    for the digits of every script. Invisible characters (joiners, variation selectors) go.
    """
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def put(piece: str, start: int, end: int) -> None:
        for character in piece:
            is_space = character.isspace()
            if is_space and pieces and pieces[-1] == " ":
                ends[-1] = end
                continue
            pieces.append(" " if is_space else character)
            starts.append(start)
            ends.append(end)

    position = 0
    while position < len(text):
        if plain := _PLAIN.match(text, position):
            pieces.append(plain[0])
            starts.extend(range(position, plain.end()))
            ends.extend(range(position + 1, plain.end() + 1))
            position = plain.end()
        elif space := _SPACE.match(text, position):
            put(" ", position, space.end())
            position = space.end()
        elif dash := _DASH.match(text, position):
            piece, end = _fold_dash(text, position, dash.end())
            put(piece, position, end)
            position = end
        else:
            end = position + 1
            while end < len(text) and _continues(text[end]):
                end += 1
            put(_fold_cluster(text[position:end]), position, end)
            position = end
    return Folded("".join(pieces), starts, ends)


def _fold_dash(text: str, start: int, end: int) -> tuple[str, int]:
    """What the dashes text[start:end] become, and where the line break after them ends."""
    before = text[start - 1] if start else " "
    line_break = _LINE_BREAK.match(text, end)
    if line_break and not before.isspace():
        end = line_break.end()
    if _is_letter(before) and end < len(text) and _is_letter(text[end]):
        return "", end
    return ("" if set(text[start:end].rstrip()) == {_SOFT_HYPHEN} else "-"), end


def _fold_cluster(cluster: str) -> str:
    """A character with its combining marks, in NFKC: cluster by cluster is the same as all at once."""
    cluster = "".join(_QUOTES.get(c, c) for c in cluster if c not in _INVISIBLE)
    if cluster.isascii():
        return cluster
    composed = unicodedata.normalize("NFKC", cluster)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in composed)


def _is_letter(character: str) -> bool:
    return character.isalpha() or _continues(character)


def _continues(character: str) -> bool:
    """True for what may combine with the character before it: marks, and the vowels and tails of Hangul."""
    if character < "\u0300":
        return False
    first = unicodedata.normalize("NFKC", character)[0]  # the half-width voicing mark is a letter by category
    return "\u1160" <= first <= "\u11ff" or unicodedata.category(first)[0] == "M"
