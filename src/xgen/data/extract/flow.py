"""Running text out of marked-up text: words with one blank between them, lines, paragraphs, code as it is."""

import re

_WHITE = " \t\r\n\f\v"  # XML's white space and a little more; not the no-break space
_SPACE = re.compile(f"[{_WHITE}]+")
_HYPHENS = "-\u2010\u00ac"  # what a printer put where a word goes on in the next line
_UNSEEN = str.maketrans("", "", "\u00ad\u200b\ufeff")  # soft hyphen and marks of no width
LINE, PARAGRAPH = 1, 2


class Flow:
    """Takes words and breaks in reading order; `text()` is what a reader would see.

    White space inside words is one blank, as HTML and XML readers have it; breaks do not add up; nothing
    starts or ends with white space.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._break = 0
        self._blank = False
        self._joined = False
        self._label = False

    def words(self, text: str | None) -> None:
        """Go on with `text`, its white space collapsed."""
        if not text:
            return
        if not text.strip(_WHITE):  # most of what stands between elements
            self._blank = self._blank or not self._joined
            return
        words = _SPACE.sub(" ", text.translate(_UNSEEN))
        if self._joined:
            words = words.lstrip()
        bare = words.strip(" ")
        if not bare:
            self._blank = self._blank or (bool(words) and not self._joined)
            return
        self._open(words.startswith(" "))
        self._parts.append(bare)
        self._blank = words.endswith(" ")

    def line(self) -> None:
        """What follows starts on a line of its own."""
        self._break = max(self._break, LINE)
        self._joined = False

    def paragraph(self) -> None:
        """What follows starts after an empty line."""
        self._break = PARAGRAPH
        self._joined = False

    def tight(self) -> None:
        """What follows starts on the next line, even where a paragraph has just ended."""
        self._break = LINE if self._break else 0
        self.line()

    def label(self, text: str) -> None:
        """Words whose paragraph is still to come: it goes on in their line, a line of verse below them."""
        self.words(text)
        self._label = True

    def lines(self, text: str) -> None:
        """Text whose white space counts (a listing, verse typed as such), on lines of its own."""
        kept = text.translate(_UNSEEN).expandtabs(8).replace("\r\n", "\n").replace("\r", "\n")
        kept = "\n".join(line.rstrip() for line in kept.split("\n")).strip("\n")
        if kept:
            self.line()
            self._open(False)
            self._parts.append(kept)
            self.line()

    def join(self) -> None:
        """The word goes on: take back a printer's hyphen and the white space around the break."""
        if self._break or not self._parts:
            return
        self._parts[-1] = self._parts[-1].rstrip(_HYPHENS)
        self._blank, self._joined = False, True

    def text(self) -> str:
        """All of it, lines without white space at their ends."""
        return "".join(self._parts)

    def _open(self, blank: bool) -> None:
        """Put the break that is due, or a blank, before what comes."""
        if self._parts:
            if self._label and self._break == PARAGRAPH:
                self._parts.append(" ")
            elif self._break:
                self._parts.append("\n" * self._break)
            elif (blank or self._blank) and not self._joined:
                self._parts.append(" ")
        self._label = False
        self._break, self._blank, self._joined = 0, False, False
