"""HTML: the words that a reader of the page sees, block by block, tables row by row."""

import re
from collections import Counter
from typing import Any

from xgen.errors import BadDocument
from xgen.text.document import Document
from xgen.text.extract.plain import decode
from xgen.text.extract.tables import is_layout, joined, table_lines

_UNSEEN = {"script", "style", "template", "head", "noscript", "iframe", "object", "svg", "math"}
_UNSEEN |= {"canvas", "audio", "video", "map", "datalist"}
_MENUS = {"nav", "button", "select", "textarea"}  # seen, but not read: counted as dropped
_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "dl", "pre", "blockquote"}
_PARAGRAPHS |= {"section", "article", "figure", "hr"}
_LINES = {"div", "li", "dt", "dd", "tr", "caption", "figcaption", "address", "main", "header", "footer"}
_LINES |= {"aside", "form", "fieldset", "legend", "details", "summary", "body", "center", "title", "td", "th"}
_TABLE_PARTS = {"table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "td", "th"}
_CHARSET = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_INVISIBLE = str.maketrans("", "", "\u00ad\u200b\ufeff")  # soft hyphen and marks of no width
MAX_COLUMNS = 100  # what a colspan may pad a row to


def extract(data: bytes, name: str) -> Document:
    """The document of an HTML file; raises BadDocument if there is no text in it."""
    from lxml import etree

    text, lost = _decoded(data, name)
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    root = etree.fromstring(text.encode(), parser)
    if any(error.type_name == "ERR_RESOURCE_LIMIT" for error in parser.error_log):
        raise BadDocument(name, "its elements nest too deeply", "save the page from a browser")
    page = _Page()
    if root is not None:
        title = root.find("head/title")
        headings = [" ".join("".join(h.itertext()).split()) for h in root.iter("h1", "h2")]
        if title is not None and " ".join((title.text or "").split()) not in headings:
            page.read(title)
            page.paragraph()
        page.read(root)
    if not page.text():
        raise BadDocument(
            name, "this HTML holds no text of its own (scripts may draw it)", "save the page from a browser"
        )
    dropped = [f"{what} left out: {n}" for what, n in page.dropped.items()]
    return Document(name, page.text(), dropped=(*lost, *dropped))


def _decoded(data: bytes, name: str) -> tuple[str, list[str]]:
    """By mark, then by what the page says of itself, then as any text."""
    declared = _CHARSET.search(data[:4096])
    if declared and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        try:
            # Pages that say Latin-1 mean Windows' superset of it (WHATWG Encoding Standard).
            encoding = declared[1].decode("ascii").lower()
            latin = encoding in {"iso-8859-1", "latin1", "latin-1", "ascii", "us-ascii"}
            return data.decode("cp1252" if latin else encoding), []
        except (LookupError, UnicodeError):
            pass
    return decode(data, name)


class _Page:
    """Lines as they come, the last of them open."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.open: list[str] = []
        self.prefix = ""
        self.lists: list[int] = []  # of the lists we are in: the last number given, -1 if bulleted
        self.dropped: Counter[str] = Counter()

    def text(self) -> str:
        return joined(self.lines)

    def line(self) -> None:
        """End the open line, if there is anything in it."""
        words = " ".join("".join(self.open).translate(_INVISIBLE).split())
        if words:
            self.lines.append(self.prefix + words)
            self.prefix = " " * len(self.prefix)
        self.open = []

    def paragraph(self) -> None:
        self.line()
        self.lines.append("")

    def read(self, element: Any) -> None:
        """Read all below `element`, without recursion: pages nest deeply."""
        from lxml import etree

        walk = etree.iterwalk(element, events=("start", "end"))
        left_out: Any = None
        for event, node in walk:
            tag = node.tag
            if event == "start":
                if self._is_left_out(node) and node is not element:
                    left_out = node
                    walk.skip_subtree()
                    continue
                self._begin(tag)
                if (tag == "table" and self._table(node)) or (tag == "pre" and self._verbatim(node)):
                    walk.skip_subtree()
                    continue
                self.open.append(node.text or "")
            else:
                if node is not left_out:
                    self._end(tag)
                elif tag in _PARAGRAPHS or tag in _LINES:
                    self.line()
                if node is not element:
                    self.open.append(node.tail or "")
        self.line()

    def _is_left_out(self, node: Any) -> bool:
        hidden = node.get("hidden") is not None or _HIDDEN.search(node.get("style", ""))
        if node.tag not in _UNSEEN and node.tag not in _MENUS and node.tag != "img" and not hidden:
            return False
        if node.tag == "img" or (node.tag not in _UNSEEN and "".join(node.itertext()).strip()):
            self.dropped["hidden elements" if hidden else f"<{node.tag}> elements"] += 1
        return True

    def _begin(self, tag: str) -> None:
        if tag in _PARAGRAPHS and not (tag in {"ul", "ol"} and self.lists) and not self._first_in_item():
            self.paragraph()
        elif tag in _LINES or tag == "br" or tag in {"ul", "ol"}:
            self.line()
        if tag in {"ul", "ol"}:
            self.lists.append(0 if tag == "ol" else -1)
        elif tag == "li" and self.lists:
            mark = "- "
            if self.lists[-1] >= 0:
                self.lists[-1] += 1
                mark = f"{self.lists[-1]}. "
            self.prefix = "  " * (len(self.lists) - 1) + mark

    def _first_in_item(self) -> bool:
        """Whether a list item has begun and has no words yet: its first paragraph goes on its line."""
        return bool(self.prefix.strip()) and not "".join(self.open).strip()

    def _end(self, tag: str) -> None:
        if tag in _PARAGRAPHS and not (self.lists and tag in {"p", "ul", "ol"} and len(self.lists) > 1):
            self.paragraph() if not self.prefix else self.line()
        elif tag in _LINES or tag in _PARAGRAPHS:
            self.line()
        if tag in {"ul", "ol"} and self.lists:
            self.lists.pop()
        if tag in {"li", "ul", "ol"}:
            self.prefix = ""

    def _verbatim(self, pre: Any) -> bool:
        self.lines.extend("".join(pre.itertext()).translate(_INVISIBLE).expandtabs().splitlines())
        return True

    def _table(self, table: Any) -> bool:
        """Add the rows of a table of data; False for one that arranges the page."""
        if table.find(".//table") is not None or not _is_regular(table):
            return False
        rows = _rows(table)
        if is_layout(rows):
            return False
        caption = table.find("caption")
        if caption is not None:
            self.read(caption)
        self.lines.extend(table_lines(rows))
        return True


def _is_regular(table: Any) -> bool:
    """Whether all text stands in cells; broken pages have it between them as well."""
    for node in table.iter(*_TABLE_PARTS - {"caption", "td", "th"}):
        if (node.text or "").strip() or any((child.tail or "").strip() for child in node):
            return False
        parts = {"td", "th"} if node.tag == "tr" else _TABLE_PARTS - {"td", "th"}
        if any(child.tag not in parts | _UNSEEN for child in node):
            return False
    return True


def _rows(table: Any) -> list[list[str]]:
    """Cells of a table; a cell that spans rows is said in each of them, so that every row reads alone."""
    rows: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}  # column: (rows still to fill, text)
    for tr in table.iter("tr"):
        row: list[str] = []
        for cell in tr.iterchildren("td", "th"):
            while len(row) in below:
                row.append(_from_above(below, len(row)))
            page = _Page()
            page.read(cell)
            text = page.text()
            n_rows = _span(cell.get("rowspan"))
            if n_rows > 1:
                below[len(row)] = (n_rows - 1, text)
            row.append(text)
            row.extend([""] * min(_span(cell.get("colspan")) - 1, MAX_COLUMNS - len(row)))
        while len(row) in below:
            row.append(_from_above(below, len(row)))
        rows.append(row)
    return rows


def _from_above(below: dict[int, tuple[int, str]], column: int) -> str:
    n_rows, text = below.pop(column)
    if n_rows > 1:
        below[column] = (n_rows - 1, text)
    return text


def _span(value: str | None) -> int:
    return int(value) if value and value.isdecimal() and len(value) < 6 else 1
