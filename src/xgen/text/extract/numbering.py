"""The numbers and bullets that Word draws before paragraphs; the file holds only rules for them.

ECMA-376 part 1, section 17.9: a paragraph, or its style, names a list and a level; the list's level says how
its number is written. Counters are shared by all lists made from one abstract list.
"""

import re
from typing import Any

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MAX_STYLES = 50  # links from style to style followed, lest they go round


class Numbering:
    """Counts through one document: `mark` is to be called once for each paragraph, in order."""

    def __init__(self, word: Any) -> None:
        from docx.oxml import parse_xml

        roots = [
            parse_xml(rel.target_part.blob)
            for rel in word.part.rels.values()
            if rel.reltype.endswith("/numbering") and not rel.is_external
        ]
        abstract = {a.get(_W + "abstractNumId"): a for root in roots for a in root.iter(_W + "abstractNum")}
        self.lists: dict[str | None, Any] = {}  # numId: abstract list
        for root in roots:
            for num in root.iter(_W + "num"):
                self.lists[num.get(_W + "numId")] = abstract.get(_value(num, "abstractNumId"))
        self.styles = {style.get(_W + "styleId"): style for style in word.styles.element.iter(_W + "style")}
        self.counters: dict[int, dict[int, int]] = {}

    def mark(self, p: Any) -> str:
        """What stands before paragraph `p`: "- ", "3. ", "2.1 " or nothing."""
        list_id, level, style = self._list_of(p)
        abstract = self.lists.get(list_id)
        if list_id in (None, "0") or abstract is None:
            return ""
        levels = {int(e.get(_W + "ilvl", "0")): e for e in abstract.iterchildren(_W + "lvl")}
        if level is None:
            level = next((n for n, e in levels.items() if style and _value(e, "pStyle") == style), 0)
        rule = levels.get(level)
        form = _value(rule, "numFmt") if rule is not None else "bullet"
        if rule is None or form in ("bullet", "none"):
            return "  " * level + "- " if form == "bullet" else ""
        counters = self.counters.setdefault(id(abstract), {})
        counters[level] = counters.get(level, _start(rule) - 1) + 1
        for deeper in [n for n in counters if n > level]:
            del counters[deeper]
        numbers = {
            n: _written(counters.get(n, _start(e)), _value(e, "numFmt") or "decimal")
            for n, e in levels.items()
        }
        pattern = _value(rule, "lvlText") or ""
        mark = re.sub(r"%(\d)", lambda match: numbers.get(int(match[1]) - 1, ""), pattern).strip()
        return f"{mark} " if mark else ""

    def _list_of(self, p: Any) -> tuple[str | None, int | None, str | None]:
        """(list, level, style) from the paragraph itself, else from its style or one that it is based on."""
        properties = p.find(_W + "pPr")
        style_id = _value(properties, "pStyle")
        seen = style_id
        for _ in range(MAX_STYLES):
            found = properties.find(_W + "numPr") if properties is not None else None
            if found is not None and (list_id := _value(found, "numId")) is not None:
                level = _value(found, "ilvl")
                return list_id, int(level) if level else None, seen
            style = self.styles.get(style_id)
            if style is None:
                break
            seen, properties, style_id = style_id, style.find(_W + "pPr"), _value(style, "basedOn")
        return None, None, None


def _value(parent: Any, tag: str) -> str | None:
    element = parent.find(_W + tag) if parent is not None else None
    return None if element is None else element.get(_W + "val")


def _start(rule: Any) -> int:
    return int(_value(rule, "start") or "1")


def _written(number: int, form: str) -> str:
    if form.endswith("Letter") and number > 0:  # z is followed by aa, then bb
        letter = chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 9)
        return letter.upper() if form == "upperLetter" else letter
    if form.endswith("Roman") and 0 < number < 4000:
        roman = _roman(number)
        return roman if form == "upperRoman" else roman.lower()
    return str(number)


def _roman(number: int) -> str:
    digits = ""
    for value, sign in zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"),
        strict=True,
    ):
        digits += sign * (number // value)
        number %= value
    return digits
