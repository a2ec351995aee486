"""Words as ranking sees them, in scripts with spaces and without."""

import re
import unicodedata

_UNSPACED = (  # Thai and Lao, Burmese, Khmer, kana, Han
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]").match
JOINED = rf"[^\W{_UNSPACED}\uac00-\ud7a3]"
"""Pattern of a letter or digit beside which a name goes on: not Han and the like, nor Hangul's particles."""

# Vowel signs and accents that have no letter of their own; to `re` they are no part of a word.
_MARKS = "".join(
    c for c in map(chr, range(0x300, 0x20000)) if unicodedata.category(c)[0] == "M" and not _IS_UNSPACED(c)
)
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}](?:[^\W_{_UNSPACED}]|[{_MARKS}])*")
_CHUNK = re.compile(
    rf"\d+(?:[.,]\d+)*(?![^\W_{_UNSPACED}])|[^\W_{_UNSPACED}](?:[^\W_{_UNSPACED}]|[{_MARKS}])*|\s+|.",
    re.DOTALL,
)


def words(text: str) -> list[str]:
    """Case-folded words with their marks; runs of Han, kana, Thai and the like become pairs of characters."""
    found: list[str] = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if len(run) > 1 and _IS_UNSPACED(run):
            found += [run[i : i + 2] for i in range(len(run) - 1)]
        else:
            found.append(run)
    return found


GRAM = 4
"""Characters of a run."""


def grams(text: str) -> list[str]:
    """The words of `text` as runs of GRAM characters, ends marked: "<mil", "mill", "ill>"; short ones whole.

    Forms of one word share most of theirs, in any language (McNamee and Mayfield 2004, who found runs of
    four the best for ranking in eight European languages).
    """
    marked = [f"<{word}>" for word in words(text)]
    return [word[i : i + GRAM] for word in marked for i in range(max(1, len(word) - GRAM + 1))]


def holds(text: str, span: str) -> bool:
    """Whether the words of `span` stand in `text` in one run."""
    return f" {' '.join(words(span))} " in f" {' '.join(words(text))} "


def chunks(text: str) -> list[str]:
    """The text cut where a quotation may begin or end; joined, the chunks are the text.

    Words and numbers ("1,250.5") stay whole; spaces come in runs; everything else, the letters of
    scripts without spaces among it, is cut into characters.
    """
    return _CHUNK.findall(text)


def unspaced(text: str) -> bool:
    """Whether most letters of `text` belong to a script written without spaces between words."""
    letters = [c for c in text if c.isalpha()]
    return bool(letters) and sum(bool(_IS_UNSPACED(c)) for c in letters) * 2 > len(letters)
