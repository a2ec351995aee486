"""What a page has broken, mended: ligatures, words at line ends, sentences over columns and pages."""

import re
from collections.abc import Iterator, Sequence

_LIGATURES = dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True))
_SINGLE = str.maketrans(
    # hyphens, soft ones too; marks of no width
    {**_LIGATURES, 0x02: "-", 0x2010: "-", 0x2011: "-", 0xAD: "-", 0x200B: "", 0xFEFF: "", 0xFFFE: "-"}
)
_BROKEN = re.compile(r"([^\W\d_]+)-$")
_REST = re.compile(r"[^\W\d_]+")
_LEADERS = re.compile(r"\s*(?:\|\s*)?(?:\.\s?){4,}(?:\s*\|)?\s*")
_WORDS = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?:;。！？؟।…][\"'”’»)\]]*$")

MIN_FULL_LINE = 25  # characters; a shorter line is a heading or the like, not one that the margin broke

Lines = list[str]


def mend_characters(text: str) -> str:
    """One word with ligatures spelled out, hyphens and bullets of one kind."""
    if len(text) == 1 and "\ue000" <= text <= "\uf8ff":
        return "•"  # a sign of a font of signs, alone: a bullet of some form
    return text.translate(_SINGLE)


def mend_lines(pages: Sequence[Lines]) -> list[Lines]:
    """The pages' lines with words broken at line ends made whole, on the line where they begin.

    The hyphen stays where the document itself writes the word with one, or both halves as words of their
    own and never together; so "long-" + "term" becomes "long-term" and "exam-" + "ple" "example". The
    empty lines that part two columns go where a sentence runs on from one to the other.
    """
    vocabulary = set(_vocabulary(pages))
    mended: list[Lines] = []
    previous: tuple[int, int] | None = None  # page and line of the last line with words
    for lines in pages:
        mended.append([])
        for text in lines:
            line = rest = _LEADERS.sub(" | ", text).removesuffix(" | ")  # dots lead to a page number
            if line and previous is not None:
                page, at = previous
                above = mended[page][at]
                broken, begun = _BROKEN.search(above), _REST.match(line)
                if broken and begun and " | " not in above + line:
                    word = _joined(broken[1], begun[0], vocabulary)
                    tail, _, rest = line[begun.end() :].partition(" ")
                    mended[page][at] = above[: broken.start()] + word + tail
                    _close_gap(mended[-1])
                elif runs_on(above, line):
                    _close_gap(mended[-1])
            if rest or not line:
                mended[-1].append(rest)
            if rest:
                previous = len(mended) - 1, len(mended[-1]) - 1
    return mended


def runs_on(above: str, below: str) -> bool:
    """Whether a sentence that does not end in `above` goes on in `below`, for all that one can see."""
    if len(above) < MIN_FULL_LINE or " | " in above + below:
        return False
    return below[:1].islower() and not _SENTENCE_END.search(above)


def _close_gap(lines: Lines) -> None:
    while lines and not lines[-1]:
        lines.pop()


def _joined(left: str, right: str, vocabulary: set[str]) -> str:
    whole, hyphenated = (left + right).casefold(), f"{left}-{right}".casefold()
    if right[0].isupper() and not left.isupper():
        return f"{left}-{right}"  # "Anglo-Saxon"
    if whole in vocabulary:
        return left + right
    both_words = {left.casefold(), right.casefold()} <= vocabulary and min(len(left), len(right)) > 3
    return f"{left}-{right}" if hyphenated in vocabulary or both_words else left + right


def _vocabulary(pages: Sequence[Lines]) -> Iterator[str]:
    """Every word that is not broken at a line end, in lower case."""
    broken = False
    for lines in pages:
        for line in filter(None, lines):
            words = _WORDS.findall(line)
            yield from (word.casefold() for word in words[1 if broken else 0 : -1])
            broken = bool(_BROKEN.search(line))
            if words and not broken:
                yield words[-1].casefold()
