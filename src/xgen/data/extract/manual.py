"""What DocBook and Mallard have in common: blocks, listings, lists and tables, read by a table of names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xgen.data.extract.flow import Flow
from xgen.data.extract.markup import local

_PLAIN = frozenset({"para", "simpara", "p"})

Special = Callable[["Reader", Any], None]


@dataclass(frozen=True)
class Rules:
    """Which elements are what, by local name; any other is words in a line.

    `bullets` and `numbers` are lists whose `items` get "- " or "1. "; `cells` after the first of a row are
    parted by " | "; `between` joins an element's children ("+" between keys); `special` has the last word.
    """

    paragraphs: frozenset[str]
    lines: frozenset[str]
    verbatim: frozenset[str]
    left_out: frozenset[str]
    bullets: frozenset[str]
    numbers: frozenset[str]
    items: frozenset[str]
    cells: frozenset[str]
    between: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, Special] = field(default_factory=dict)


class Reader:
    """Walks a tree in document order by `rules` and writes what is read into `flow`."""

    def __init__(self, rules: Rules, targets: Mapping[str, Any] | None = None) -> None:
        self.rules = rules
        self.targets = targets or {}  # elements by their ids, for references without words of their own
        self.flow = Flow()

    def read(self, element: Any) -> None:
        """The element itself, without the words that follow it."""
        name, rules = local(element), self.rules
        if not name:  # an entity that only a DTD knows: its name, so that the gap shows
            self.flow.words(element.name)
        elif name in rules.special:
            rules.special[name](self, element)
        elif name in rules.left_out:
            pass
        elif name in rules.verbatim:
            self.flow.paragraph()
            self.flow.lines("".join(element.itertext()))
            self.flow.paragraph()
        elif name in rules.between:
            self.flow.words(rules.between[name].join(self.parts(element)))
        elif name in rules.items:
            self._item(element)
        elif name in rules.paragraphs:
            self._edged(element, self.flow.paragraph)
        elif name in rules.lines:
            self._edged(element, self.flow.line)
        elif name in rules.cells:  # a cell is one line, whatever blocks it is made of
            self.flow.words(" | " if element.getprevious() is not None else None)
            self.flow.words(self.apart(element))
        else:
            self.children(element)

    def children(self, element: Any) -> None:
        """What is inside the element, in order."""
        self.flow.words(element.text)
        for child in element:
            self.read(child)
            self.flow.words(child.tail)

    def parts(self, element: Any) -> list[str]:
        """The words of each child, and those between them, that are any."""
        found = [element.text]
        for child in element:
            found += [self.apart(child) if local(child) else child.name, child.tail]
        return [" ".join(part.split()) for part in found if part and part.strip()]

    def apart(self, element: Any) -> str:
        """The words of an element, in one line and not yet in the flow."""
        inner = Reader(self.rules, self.targets)
        inner.children(element)
        return " ".join(inner.flow.text().split())

    def _edged(self, element: Any, edge: Callable[[], None]) -> None:
        edge()
        self.children(element)
        edge()

    def _item(self, element: Any) -> None:
        parent = local(element.getparent())
        n_before = sum(1 for other in element.itersiblings(preceding=True) if local(other) == local(element))
        mark = "- " if parent in self.rules.bullets else ""
        if parent in self.rules.numbers:
            mark = f"{n_before + 1}. "
        if n_before:
            self.flow.tight()
        self.flow.line()
        if mark:
            self.flow.label(mark)
            self.children(element)
        else:  # what a term means starts in the line below it
            self.flow.words(element.text)
            for i, child in enumerate(element):
                begins = i == 0 and local(child) in _PLAIN and not (element.text or "").strip()
                self.children(child) if begins else self.read(child)
                if begins:
                    self.flow.paragraph()
                self.flow.words(child.tail)
        self.flow.line()
