"""Mallard 1 (http://projectmallard.org): help topics of GNOME as they are read.

Kept: titles as headings, paragraphs, steps, lists, terms, tables row by row, listings. Left out: the
`info` about a page, lists of links that a viewer makes, pictures, editors' comments.
"""

from typing import Any

from xgen.data.extract.manual import Reader, Rules
from xgen.data.extract.markup import local, parse, words
from xgen.errors import BadDocument


def extract_mallard(data: bytes) -> str:
    """The text of a Mallard page; raises BadDocument if it is not one or is empty."""
    root = parse(data, "Mallard")
    if not any(local(element) in {"page", "section", "stack"} for element in root.iter()):
        raise BadDocument("Mallard", "no page is in it", "leave it out")
    reader = Reader(_RULES)
    reader.read(root)
    result = reader.flow.text()
    if not result:
        raise BadDocument("Mallard", "there is no text in it", "leave it out")
    return result


def _link(reader: Reader, element: Any) -> None:
    """A link, by its words; without any, by the name it points to."""
    if not reader.apart(element):
        reader.flow.words(element.get("xref") or element.get("href"))
    else:
        reader.children(element)


def _code(reader: Reader, element: Any) -> None:
    """A listing of its own where it stands between blocks, words in a line where not."""
    if local(element.getparent()) in _AROUND:
        reader.flow.paragraph()
        reader.flow.lines("".join(element.itertext()))
        reader.flow.paragraph()
    else:
        reader.children(element)


_AROUND = words("page section example figure listing item note td div")
_RULES = Rules(
    paragraphs=words(
        "page section stack title subtitle p note example figure quote cite synopsis list steps terms tree"
        " table listing desc div"
    ),
    lines=words("tr thead tbody tfoot"),
    verbatim=frozenset({"screen"}),
    left_out=words("info links media comment col colgroup"),
    bullets=frozenset({"list"}),
    numbers=frozenset({"steps"}),
    items=frozenset({"item"}),
    cells=frozenset({"td", "th"}),
    between={"keyseq": "+", "guiseq": " → "},
    special={"link": _link, "code": _code},
)
