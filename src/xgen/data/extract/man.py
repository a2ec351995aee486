"""Manual pages (the man macros of roff) as running text: man(7) and groff(7) say what each request means.

Fonts, sizes, places and page breaks have no trace in the text; headings, paragraphs, labelled lists,
examples with their own line ends and tables do. Pages in the mdoc macros of BSD are another language and
are refused.
"""

import re
from collections.abc import Iterator

from xgen.data.extract.flow import Flow
from xgen.errors import BadDocument
from xgen.text.extract.plain import decode
from xgen.text.extract.tables import table_lines

MAX_BYTES = 8 << 20  # the longest page met, of bash, has 0.4 MB
MAX_STRING = 80  # characters of a string that a page defines

_CHARACTERS = {
    **{
        "-": "-",
        "e": "\\",
        "'": "'",
        "`": "`",
        " ": " ",
        "~": " ",
        "0": " ",
        "t": "\t",
        ".": ".",
        "\\": "\\",
    },
    **{"em": "—", "en": "–", "hy": "‐", "bu": "•", "sq": "□", "co": "©", "rg": "®", "tm": "™", "de": "°"},
    **{"aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "Bq": "„", "bq": "‚", "Fo": "«"},
    **{"Fc": "»", "fo": "‹", "fc": "›", "ga": "`", "aa": "´", "ti": "~", "ha": "^", "rs": "\\", "at": "@"},
    **{"sh": "#", "Do": "$", "ul": "_", "ru": "_", "ba": "|", "or": "|", "br": "│", "bv": "│", "sl": "/"},
    **{"mu": "×", "di": "÷", "+-": "±", "pl": "+", "mi": "−", "eq": "=", "<=": "≤", ">=": "≥", "!=": "≠"},
    **{"->": "→", "<-": "←", "ua": "↑", "da": "↓", "<>": "↔", "rA": "⇒", "if": "∞", "ap": "∼", "~~": "≈"},
    **{"14": "¼", "12": "½", "34": "¾", "S1": "¹", "S2": "²", "S3": "³", "sc": "§", "ps": "¶", "dg": "†"},
    **{"dd": "‡", "ct": "¢", "Po": "£", "Ye": "¥", "Eu": "€", "r!": "¡", "r?": "¿", "ss": "ß", "ae": "æ"},
    **{"AE": "Æ", "oe": "œ", "OE": "Œ", "oa": "å", "oA": "Å", "/o": "ø", "/O": "Ø", ",c": "ç", ",C": "Ç"},
    **{"~n": "ñ", "~N": "Ñ", "~a": "ã", "~o": "õ", "la": "⟨", "ra": "⟩", "lB": "[", "rB": "]", "lC": "{"},
    **{"rC": "}", "pc": "·", "*a": "α", "*b": "β", "*p": "π", "*l": "λ", "*m": "μ", "*D": "Δ", "*S": "Σ"},
    **{f":{a}": b for a, b in zip("aouAOUeiy", "äöüÄÖÜëïÿ", strict=True)},
    **{f"'{a}": b for a, b in zip("aeiouyAEIOU", "áéíóúýÁÉÍÓÚ", strict=True)},
    **{f"`{a}": b for a, b in zip("aeiouAEIOU", "àèìòùÀÈÌÒÙ", strict=True)},
    **{f"^{a}": b for a, b in zip("aeiouAEIOU", "âêîôûÂÊÎÔÛ", strict=True)},
}
# What man(7) and pod2man(1) define; it goes before a page's own .ds, which may depend on a condition.
_STRINGS = {"lq": "“", "rq": "”", "R": "®", "Tm": "™", "Aq": "'", "--": "–", "PI": "π", 'L"': "“", 'R"': "”"}
_STRINGS |= {"C'": "'", "C`": "'", "L'": "‘", "R'": "’"}
# Bounded, so that no page takes longer than its length.
_ESCAPE = re.compile(
    r"""\\(?:
      ["\#](?P<comment>.*)
    | \*(?:\((?P<s2>..)|\[(?P<sn>[^\]\s]{0,80}+)[^\]]{0,80}\]|(?P<s1>.))
    | \((?P<c2>..) | \[(?P<cn>[^\]]{0,80})\] | C'(?P<cq>[^']{0,80})'
    | N'(?P<code>\d{1,7})'
    | [fFmMgkYVn](?:\([^ ]{2}|\[[^\]]{0,80}\]|[-+]?\(..|.)
    | s(?:[-+]?\d{1,2}|[-+]?\(\d\d|[-+]?\[[^\]]{0,80}\]|[-+]?'[^']{0,80}')
    | [hvwxDlLbAZRXH](?P<q>['"`]).{0,400}?(?P=q)
    | o(?P<over>'[^']{0,80}')
    | (?P<one>.) | $
    )""",
    re.VERBOSE,
)
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:\\.|[^ \t\\])+)')
_SKIPPED = {"de": "..", "am": "..", "ig": "..", "EQ": ".EN", "PS": ".PE", "de1": ".."}  # with their ends
_FONTS = {"B", "I", "SM", "SB", "R"}
_MIXED = {"BR", "RB", "IR", "RI", "BI", "IB"}
_PARAGRAPHS = {"P", "PP", "LP", "HP", "sp"}
_BREAKS = {"br", "RS", "RE", "ti", "ce", "YS"}


def extract_man(data: bytes) -> str:
    """The text of a manual page; "" for one that only points to another page (`.so`).

    Raises BadDocument if it is not a page in the man macros.
    """
    if len(data) > MAX_BYTES:
        raise BadDocument("manual page", f"it has more than {MAX_BYTES >> 20} MiB", "leave it out")
    text, _ = decode(data, "manual page")
    lines = text.replace("\\\n", "").splitlines()
    if any(line.startswith((".Dd", ".Dt")) for line in lines[:200]):
        raise BadDocument("manual page", "it is written in the mdoc macros", "leave it out")
    if any(line.startswith(".so ") for line in lines[:20]) and not any(x.startswith(".SH") for x in lines):
        return ""
    start = next((i for i, line in enumerate(lines) if re.match(r"[.']\s*TH\b", line)), None)
    if start is None:
        raise BadDocument("manual page", "it has no title line (.TH)", "leave it out")
    page = _Page(_definitions(lines))
    page.read(iter(lines[start + 1 :]))
    return page.flow.text()


def _definitions(lines: list[str]) -> dict[str, str]:
    """The strings that a page defines by .ds, wherever; what a terminal without graphics would see."""
    found = (re.match(r"[.']\s*ds\s+(\S+)\s*(.*)", line) for line in lines)
    own = {name: value for match in found if match for name, value in [match.groups()]}
    return {**{name: value.removeprefix('"')[:MAX_STRING] for name, value in own.items()}, **_STRINGS}


class _Page:
    def __init__(self, strings: dict[str, str]) -> None:
        self.flow = Flow()
        self.strings = strings
        self.verbatim: list[str] | None = None  # the lines of an example that is open
        self.due = ""  # what the next line of text is: "", "heading", "label" or "goes on"
        self.link = ""
        self.skipping: list[bool] = []

    def read(self, lines: Iterator[str]) -> None:
        for line in lines:
            if re.match(r"[.']\s*\w", line):
                self._request(line, lines)
            elif not line.startswith(("'\\\"", '.\\"', "...")) and line.strip() not in (".", "'"):
                self._text(line)
        self._end_example()

    def _text(self, line: str) -> None:
        plain = self._plain(line)
        if self.verbatim is not None:
            self.verbatim.append(plain)
        elif not line.strip():
            self.flow.paragraph()
        elif plain.strip():
            if line.startswith(" ") and not self.due:
                self.flow.line()
            self._say(plain, goes_on=line.rstrip().endswith("\\c"))

    def _say(self, plain: str, goes_on: bool = False) -> None:
        """Words in the open line; the line's end is white space, unless the word goes on."""
        if self.verbatim is not None:
            self.verbatim.append(plain)
            return
        self.flow.words(plain if goes_on else f"{plain} ")
        if goes_on:
            return
        if self.due == "heading":
            self.flow.paragraph()
        elif self.due == "label":
            self.flow.line()
        self.due = ""

    def _request(self, line: str, lines: Iterator[str]) -> None:
        name, _, rest = line[1:].strip().partition(" ")
        name, _, tail = name.partition("\t")
        arguments = [self._plain(a.replace('""', '"') or b) for a, b in _ARGUMENT.findall(f"{tail} {rest}")]
        if name in _SKIPPED:
            _skip(lines, _SKIPPED[name])
        elif name in ("if", "ie", "el", "while"):
            self._condition(rest, lines)
        elif name in _FONTS:
            self._say(" ".join(arguments), line.endswith("\\c")) if arguments else None
        elif name in _MIXED:
            self._say("".join(arguments), line.endswith("\\c")) if arguments else None
        elif name in ("SH", "SS"):
            self._heading(arguments)
        elif name in _PARAGRAPHS:
            self._break("sp" if self.verbatim is not None else "P")
        elif name in _BREAKS:
            self._break("br")
        elif name in ("TP", "TQ"):
            self._end_example()
            self.flow.paragraph() if name == "TP" else self.flow.line()
            self.due = "label"
        elif name == "IP":
            self._item(arguments)
        elif name in ("nf", "EX"):
            self.verbatim = [] if self.verbatim is None else self.verbatim
        elif name in ("fi", "EE"):
            self._end_example()
        elif name == "TS":
            self._table(lines)
        else:
            self._link_or_synopsis(name, arguments)

    def _heading(self, words: list[str]) -> None:
        self._end_example()
        self.flow.paragraph()
        self.due = "heading"
        if words:
            self._say(" ".join(words))

    def _break(self, name: str) -> None:
        if self.verbatim is not None:
            if name == "sp":
                self.verbatim.append("")
        elif name == "P":
            self.flow.paragraph()
        else:
            self.flow.line()
        self.due = ""

    def _item(self, arguments: list[str]) -> None:
        self._end_example()
        self.flow.paragraph()
        self.due = ""
        if arguments and arguments[0].strip():
            self.flow.words(f"{arguments[0]} ")
            if any(map(str.isalpha, arguments[0])):  # else it is a bullet or a number of a list
                self.flow.line()

    def _link_or_synopsis(self, name: str, arguments: list[str]) -> None:
        if name in ("UR", "MT"):
            self.link = arguments[0] if arguments else ""
        elif name in ("UE", "ME"):
            self._say(f"⟨{self.link}⟩{''.join(arguments[:1])}" if self.link else "")
            self.link = ""
        elif name == "SY":
            self._break("br")
            self._say(" ".join(arguments))
        elif name == "OP":
            self._say(f"[{' '.join(arguments)}]")

    def _condition(self, rest: str, lines: Iterator[str]) -> None:
        """Leave out what depends on a condition: in pages it tells printers from terminals."""
        depth = rest.count("\\{") - rest.count("\\}")
        while depth > 0 and (line := next(lines, None)) is not None:
            depth += line.count("\\{") - line.count("\\}")

    def _table(self, lines: Iterator[str]) -> None:
        """tbl(1): options to ";", formats to ".", rows of cells between tabs, long cells in T{ T}."""
        self._end_example()
        separator, rows, in_head = "\t", [], True
        cells: list[str] = []
        block: list[str] | None = None
        for line in lines:
            if line.startswith(".TE"):
                break
            if in_head:
                found = re.search(r"tab\s*\((.)\)", line)
                separator = found[1] if found and line.rstrip().endswith(";") else separator
                in_head = not line.rstrip().endswith(".")
            elif block is not None:
                if not line.startswith("T}"):
                    block.append(line)
                    continue
                inner = _Page(self.strings)
                inner.read(iter(block))
                cells.append(" ".join(inner.flow.text().split()))
                block = None
                cells, block = self._cells(line[2:].removeprefix(separator), separator, cells, line[2:] != "")
            elif line.startswith(".T&"):
                in_head = True
            elif not re.fullmatch(r"[_=]|\.\w+.*|\.\\\".*", line.strip()):
                cells, block = self._cells(line, separator, [], True)
            if block is None and cells:
                rows.append(cells)
                cells = []
        self.flow.paragraph()
        self.flow.lines("\n".join(table_lines(rows)))
        self.flow.paragraph()

    def _cells(
        self, line: str, separator: str, before: list[str], more: bool
    ) -> tuple[list[str], list[str] | None]:
        """The cells of a line after those `before`; a list to fill if the last one is a block that opens."""
        parts = line.split(separator) if more else []
        opens = bool(parts) and parts[-1].strip() == "T{"
        cells = [" ".join(self._plain(part).split()) for part in (parts[:-1] if opens else parts)]
        return [*before, *cells], [] if opens else None

    def _end_example(self) -> None:
        if self.verbatim:
            self.flow.paragraph()
            self.flow.lines("\n".join(self.verbatim))
            self.flow.paragraph()
        self.verbatim = None
        self.due = ""

    def _plain(self, text: str) -> str:
        """Text without escapes; strings that a page defines are put in once, not within one another."""
        return _ESCAPE.sub(_character, _ESCAPE.sub(self._string, text) if "\\*" in text else text)

    def _string(self, match: re.Match[str]) -> str:
        name = match["s2"] or match["sn"] or match["s1"]
        return match[0] if name is None else self.strings.get(name, "")


def _character(match: re.Match[str]) -> str:
    if match["code"]:
        return chr(min(int(match["code"]), 0x10FFFF))
    if match["over"]:
        return match["over"].strip("'")[-1:]
    name = match["c2"] or match["cn"] or match["cq"]
    if name:
        if found := re.fullmatch(r"u([0-9A-F]{4,6})((?:_[0-9A-F]{4,6})*)", name):
            return "".join(chr(min(int(code, 16), 0x10FFFF)) for code in (found[1] + found[2]).split("_"))
        if found := re.fullmatch(r"char(\d{1,3})", name):
            return chr(int(found[1]))
        return _CHARACTERS.get(name, "")
    return _CHARACTERS.get(match["one"] or "", "")


def _skip(lines: Iterator[str], end: str) -> None:
    for line in lines:
        if line.startswith(end):
            return
