"""Which paragraphs are in the language that they are said to be in (library py3langid).

"Translated" manuals are often half English, so each paragraph is looked at, not the file. A paragraph is
foreign only where the library is sure: short ones and code samples follow their neighbours.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from xgen.data.filters.stop_words import OWN_WORDS
from xgen.data.shingles import UNSPACED

MIN_LETTERS = 40
MIN_WIDE_LETTERS = 12  # in a paragraph of Chinese or Japanese
SAMPLE_CHARACTERS = 250
OWN = 2
MIN_PROBABILITY = 0.9
MIN_STOP_WORDS = 2  # of English, or a list of commands would pass for English
MIN_SHARE_TO_MOVE = 0.7

# Languages that the library takes for one another; between these its verdict is not followed.
_SISTERS = (
    {"hr", "sr", "bs", "sl"},
    {"da", "no", "nb", "nn"},
    {"sv", "no"},
    {"cs", "sk"},
    {"pt", "gl"},
    {"es", "gl", "an"},
    {"bg", "mk"},
    {"ru", "be"},
    {"uk", "be"},
    {"ca", "oc"},
    {"nl", "af"},
)
# Beside the languages of the corpus, those that turn up among them and would pass for one.
_STRANGERS = frozenset(
    {"ar", "el", "et", "fa", "fi", "gl", "he", "hi", "id", "ko", "lt", "lv", "mk", "nb", "no", "sk", "sq"}
    | {"th", "tr", "vi"}
)
_ENGLISH = re.compile(r"\b(?:the|of|and|to|is|in|for|with|that|you|this|are|be|it|on|by|or|as|an?)\b", re.I)
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_LETTERS = re.compile(r"[^\W\d_]+")


def languages_of(pieces: Sequence[str], declared: str, wanted: frozenset[str]) -> list[str | None]:
    """The language of each piece: an ISO 639-1 code, or None where it is too short or not sure.

    Where two words of the declared language stand that no other has, the library is not asked: it takes
    a paragraph byte by byte in Python, and these are most of them.
    """
    own = OWN_WORDS.get(declared, frozenset()) if declared not in UNSPACED else frozenset()
    return [
        declared if len(own.intersection(sample.split())) >= OWN else _ask(sample, wanted)
        for sample in (piece[:SAMPLE_CHARACTERS] for piece in pieces)
    ]


@lru_cache(maxsize=1 << 16)  # manuals in many languages have the same English paragraphs in each
def _ask(sample: str, wanted: frozenset[str]) -> str | None:
    if _KANA.search(sample) and len(_KANA.findall(sample)) >= MIN_WIDE_LETTERS:
        return "ja"
    n_letters = sum(map(len, _LETTERS.findall(sample)))
    if n_letters < MIN_LETTERS and (n_letters < MIN_WIDE_LETTERS or not _WIDE.search(sample)):
        return None
    code, probability = _identifier(wanted).classify(sample)
    if probability < MIN_PROBABILITY:
        return None
    if code == "en" and len(_ENGLISH.findall(sample)) < MIN_STOP_WORDS:
        return None
    return str(code)


def same_language(one: str, other: str) -> bool:
    """Whether the two are one language as far as the library can tell."""
    return one == other or any(one in sisters and other in sisters for sisters in _SISTERS)


def main_language(pieces: Sequence[str], found: Sequence[str | None], declared: str) -> str:
    """The language that nearly all of a document is in, if it is surely another than declared."""
    sizes: Counter[str] = Counter()
    for piece, language in zip(pieces, found, strict=True):
        if language is not None:
            sizes[language] += len(piece)
    if not sizes:
        return declared
    language, size = sizes.most_common(1)[0]
    moved = size >= MIN_SHARE_TO_MOVE * sum(sizes.values()) and not same_language(language, declared)
    return language if moved else declared


def foreign(found: Sequence[str | None], language: str) -> list[str | None]:
    """For each piece None if it stays, else the language it is in.

    A piece without a verdict goes where both its neighbours with one go.
    """
    verdicts = [None if code is None else ("" if same_language(code, language) else code) for code in found]
    before: list[str] = []
    last = ""
    for verdict in verdicts:
        last = last if verdict is None else verdict
        before.append(last)
    after: list[str] = []
    last = ""
    for verdict in reversed(verdicts):
        last = last if verdict is None else verdict
        after.append(last)
    after.reverse()
    return [
        (verdict if verdict is not None else (left if left and right else "")) or None
        for verdict, left, right in zip(verdicts, before, after, strict=True)
    ]


@cache
def _identifier(wanted: frozenset[str]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = set(identifier.labels)
    identifier.set_languages([code for code in sorted(wanted | _STRANGERS) if code in known])
    return identifier
