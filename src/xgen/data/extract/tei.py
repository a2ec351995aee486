"""TEI P5 (https://tei-c.org/release/doc/tei-p5-doc): novels and plays as they are read, without apparatus.

Kept: the body (or bodies) of the text with headings, paragraphs, verse lines, letters, section breaks as
"* * *", and of the front matter the list of characters and the place of a play. Left out: header, title
page, notes and their marks, running heads, page numbers, variant readings, pictures. Of two forms of a
word (`choice`) the corrected, regularised or expanded one is read. A line or page break inside a word
(`break="no"`) joins its halves; soft hyphens go.
"""

import re
from typing import Any

from xgen.data.extract.flow import Flow
from xgen.data.extract.markup import local, parse, words
from xgen.errors import BadDocument

LEFT_OUT = words(
    "teiHeader standOff facsimile sourceDoc titlePage note noteGrp fw figDesc graphic media listPerson"
    " listOrg listPlace listRelation particDesc rdg del surplus witDetail divGen interp interpGrp"
)
_PARAGRAPHS = words(
    "p ab head lg sp stage trailer opener closer epigraph argument castList castGroup set table div div1"
    " div2 div3 div4 div5 div6 div7 floatingText figure postscript eg front body back group"
)
_LINES = words("l castItem item row titlePart byline dateline signed salute docTitle")
_EITHER = words("quote q said label cit bibl list")  # a block in a division, words in a paragraph
_DIVISIONS = words("div div1 div2 div3 div4 div5 div6 div7 body front back epigraph cit group")
_BETTER = ("corr", "reg", "expan")  # of a `choice`, in this order
_RUNNING = words("p l ab head stage speaker role roleDesc")  # a stage direction in these goes on in the line
_BREAKS = words("lb pb cb gb")
_MARK = re.compile(r"[\[(]?\s*(\d{1,4}|[*†‡§]{1,3}|[a-z])\s*[\])]?")


def extract_tei(data: bytes) -> str:
    """The text of a TEI file; raises BadDocument if it is not TEI or its body is empty."""
    root = parse(data, "TEI")
    reader = _Reader()
    for text in (e for e in root.iter() if local(e) == "text" and not _inside(e, "text")):
        for part in text.iter():
            name = local(part)
            is_cast = name in {"castList", "set"} and _inside(part, "front") and not _inside(part, "castList")
            if is_cast or (name == "body" and not _inside(part, "body")):
                reader.read(part)
    result = reader.flow.text()
    if not result:
        raise BadDocument("TEI", "no text body is in it", "leave it out")
    return result


def is_mark(element: Any) -> bool:
    """A reference that is nothing but the mark of a note: "3", "(*)", "[b]", pointing into the file."""
    target = element.get("target", "")
    return target.startswith("#") and _MARK.fullmatch("".join(element.itertext()).strip()) is not None


def kept_of(choice: Any) -> Any:
    """Which child of a `choice` (or `app`) is read."""
    children = [child for child in choice if local(child)]
    for name in ("lem", *_BETTER):
        for child in children:
            if local(child) == name:
                return child
    return children[0] if children else None


def _inside(element: Any, name: str) -> bool:
    return any(local(above) == name for above in element.iterancestors())


class _Reader:
    """Walks elements in document order and writes what is read into `flow`."""

    def __init__(self) -> None:
        self.flow = Flow()
        self.stages = 0

    def read(self, element: Any) -> None:
        """The element itself, without the words that follow it."""
        name = local(element)
        if not name:  # an entity that only a DTD knows: its name, so that the gap shows
            self.flow.words(element.name)
        elif name in LEFT_OUT or (name == "ref" and is_mark(element)):
            pass
        elif name in _BREAKS:
            if element.get("break") == "no":
                self.flow.join()
            else:
                self.flow.words(" ")
        elif name in {"choice", "app"}:
            kept = kept_of(element)
            if kept is not None:
                self.read(kept)
        elif name == "milestone":
            self._milestone(element)
        elif name == "gap":
            if "graphic" not in element.get("unit", "") and "figure" not in element.get("rend", ""):
                self.flow.words("[…]")
        elif name == "speaker":
            speaker = self._apart(element).rstrip(" .:,;")
            self.flow.paragraph()
            if speaker:
                self.flow.label(f"{speaker}:")
        elif name == "stage":
            self._stage(element)
        else:
            self._block(element, name)

    def _block(self, element: Any, name: str) -> None:
        parent = element.getparent()
        in_division = parent is not None and local(parent) in _DIVISIONS
        if name in _PARAGRAPHS or (name in _EITHER and in_division):
            edge = self.flow.paragraph
        elif name in _LINES:
            edge = self.flow.line
        else:
            edge = None
        if edge:
            edge()
        if name == "cell" and element.getprevious() is not None:
            self.flow.words(" | ")
        self._children(element)
        if edge:
            edge()

    def _children(self, element: Any) -> None:
        self.flow.words(element.text)
        for child in element:
            self.read(child)
            self.flow.words(child.tail)

    def _apart(self, element: Any) -> str:
        """The words of an element, in one line and not yet in the flow."""
        inner = _Reader()
        inner.stages = self.stages
        inner._children(element)
        return " ".join(inner.flow.text().split("\n"))

    def _stage(self, element: Any) -> None:
        """A stage direction, in brackets if the printer put none; one inside another needs none."""
        self.stages += 1
        direction = self._apart(element)
        self.stages -= 1
        if not direction:
            return
        if not self.stages and direction[0] not in "([{":
            direction = f"({direction})"
        if local(element.getparent()) in _RUNNING:
            self.flow.words(f" {direction} ")
        else:
            self.flow.paragraph()
            self.flow.words(direction)
            self.flow.paragraph()

    def _milestone(self, element: Any) -> None:
        """A break between sections of a chapter, as books set it."""
        if local(element.getparent()) in _DIVISIONS:
            self.flow.paragraph()
            self.flow.words("* * *")
            self.flow.paragraph()
        else:
            self.flow.words(" ")
