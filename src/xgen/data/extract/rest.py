"""reStructuredText (https://docutils.sourceforge.io/docs/ref/rst/restructuredtext.html) as it is read.

A small reader, not docutils: titles lose their underlines, wrapped paragraphs become one line, list items,
fields and terms keep their own, listings keep their white space, tables become rows of cells parted by
" | ", roles and links are read by their words. Admonitions keep their name and text. Comments, targets,
pictures, contents, includes and what only a build understands are left out.
"""

import re
import unicodedata

from xgen.data.extract.markup import words
from xgen.errors import BadDocument

_EXPLICIT = re.compile(r"( *)\.\.(?: +(.*))?$")
_DIRECTIVE = re.compile(r"([A-Za-z][\w:.+-]*?) ?::(?: +(.*))?$")
_SUBSTITUTION = re.compile(r"\|([^|]+)\| +(\w+):: *(.*)$")
_NOTE = re.compile(r"\[([#*\w.-]+)\] +(.*)$")
_RULE = re.compile(r" *([!-/:-@[-`{-~])\1{2,} *$")
_GRID = re.compile(r" *\+(?:[-=]+\+)+ *$")
_SIMPLE = re.compile(r" *=+(?: +=+)+ *$")
_ITEM = re.compile(
    r"(?:[-*+•] +|(?:\d{1,3}|[A-Za-z]|#)[.)] +|\((?:\d{1,3}|[A-Za-z])\) +|\|(?: |$)|:[^:\n`]+:(?: |$))"
)
_OPTION = re.compile(r" *:[\w -]+:")
_LISTINGS = words(
    "code code-block sourcecode literalinclude parsed-literal highlight-code prompt console ipython math"
    " productionlist"
)
_ADMONITIONS = words(
    "note warning attention caution danger error hint important tip seealso admonition deprecated"
    " versionadded versionchanged todo"
)
_CONTAINERS = words(
    "topic sidebar epigraph highlights pull-quote compound container rubric figure class only describe"
    " function method data attribute exception module option cmdoption envvar program confval"
    " c:function c:macro c:type c:member c:struct c:enum c:var c:union py:function py:class py:method"
    " py:data py:attribute py:module py:exception glossary table hlist centered"
)
_LITERAL = re.compile(r"``(.+?)``(?![`\w])", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)")
_ROLE = re.compile(r":[\w:+.-]+:`([^`]+)`|`([^`]+)`:[\w:+.-]+:|(?<![\w`])`([^`]+)`(?:__?)?(?![\w`])")
_STRONG = re.compile(r"(?<![\w*])(\*\*?)(?=[^\s*])([^*]*[^\s*])\1(?![\w*])")
_REFERENCE = re.compile(
    r"(?<![\w`])([A-Za-z][\w.+-]*[A-Za-z0-9])__?(?=[\s.,;:!?)\]'\"]|$)|(\[[#*\w.-]+\])_(?!\w)"
)
_SUBSTITUTED = re.compile(r"\|([^|\s](?:[^|\n]*[^|\s])?)\|(?:__?)?")


def extract_rest(data: bytes) -> str:
    """The text of a reStructuredText file in UTF-8; raises BadDocument if it is not or is empty."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").expandtabs(8)
    except UnicodeDecodeError as error:
        raise BadDocument("reStructuredText", f"it is not UTF-8 ({error})", "leave it out") from error
    lines = [line.rstrip() for line in text.split("\n")]
    reader = _Reader({})
    reader.read(lines)
    result = re.sub(r"\n{3,}", "\n\n", "\n".join(reader.lines)).strip("\n")
    if not result.strip():
        raise BadDocument("reStructuredText", "there is no text in it", "leave it out")
    return result


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _block(lines: list[str], start: int, indent: int) -> int:
    """Where the block ends whose lines from `start` on are empty or indented deeper than `indent`."""
    end = start
    for i in range(start, len(lines)):
        if lines[i] and _indent(lines[i]) <= indent:
            break
        if lines[i]:
            end = i + 1
    return end


def _dedented(lines: list[str]) -> list[str]:
    depth = min((_indent(line) for line in lines if line), default=0)
    return [line[depth:] for line in lines]


class _Reader:
    """Reads lines block by block; `lines` is what a reader sees."""

    def __init__(self, substitutions: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.substitutions = substitutions

    def read(self, lines: list[str]) -> None:
        """Lines of one level, from the left margin."""
        for line in lines:
            found = _SUBSTITUTION.match(line.strip()[3:]) if line.lstrip().startswith(".. |") else None
            if found and found[2] in {"replace", "unicode"}:
                self.substitutions.setdefault(found[1], found[3])
        i = 0
        while i < len(lines):
            i = self._one(lines, i)

    def _one(self, lines: list[str], i: int) -> int:
        """Read the block that starts at line i; the line after it."""
        line = lines[i]
        explicit = _EXPLICIT.match(line)
        if not line:
            self.lines.append("")
            return i + 1
        if explicit:
            return self._explicit(lines, i, len(explicit[1]), explicit[2] or "")
        if line.strip() == "::":
            return self._literal(lines, i + 1, _indent(line))
        if _GRID.match(line):
            return self._grid(lines, i)
        if _SIMPLE.match(line):
            return self._simple(lines, i)
        if _RULE.match(line):
            self.lines.append("")
            return i + 1
        return self._paragraph(lines, i)

    def _paragraph(self, lines: list[str], i: int) -> int:
        """Lines up to an empty one: parted at list items, fields and changes of indentation."""
        end = i
        while end < len(lines) and lines[end] and not _EXPLICIT.match(lines[end]):
            if end > i and (_RULE.match(lines[end]) or _GRID.match(lines[end]) or _SIMPLE.match(lines[end])):
                break
            end += 1
        parts: list[list[str]] = []
        depth = -1
        for line in lines[i:end]:
            marker = _ITEM.match(line.lstrip())
            if marker or not parts or _indent(line) != depth:
                parts.append([line])
            else:
                parts[-1].append(line.strip())
            depth = _indent(line) + (len(marker[0]) if marker and marker[0][0] not in ":|" else 0)
            if marker and marker[0][0] == ":":
                depth = _indent(lines[min(i + len(parts), end - 1)])
        is_literal = lines[end - 1].endswith("::")
        margin = min(_indent(line) for line in lines[i:end])
        for part in parts:
            self.lines.append(self._inline(_joined(part)))
        if is_literal:
            last = self.lines[-1]
            self.lines[-1] = last[:-1] if last.endswith("::") else last
            return self._literal(lines, end, min(margin, _indent(lines[end - 1])))
        underlined = end < len(lines) and end == i + 1 and _RULE.match(lines[end])
        if underlined:
            self.lines.append("")
        return end + 1 if underlined else end

    def _literal(self, lines: list[str], start: int, indent: int) -> int:
        end = _block(lines, start, indent)
        self.lines += ["", *lines[start:end], ""]
        return end

    def _explicit(self, lines: list[str], i: int, indent: int, rest: str) -> int:
        """A directive, a footnote, or what nobody reads: a comment, a target, a substitution."""
        end = _block(lines, i + 1, indent)
        body = lines[i + 1 : end]
        directive = _DIRECTIVE.match(rest)
        note = _NOTE.match(rest)
        if note:
            self._paragraph(
                [f"[{note[1]}] {_joined([note[2], *(line.strip() for line in body if line)])}"], 0
            )
        elif directive:
            self._directive(directive[1].lower(), directive[2] or "", body)
        self.lines.append("")
        return end

    def _directive(self, name: str, argument: str, body: list[str]) -> None:
        start = 0
        while start < len(body) and (_OPTION.match(body[start]) and body[start]):
            start += 1
        body = body[start:]
        if name in _LISTINGS:
            self.lines += ["", *body, ""]
        elif name in {"list-table", "flat-table", "csv-table"}:
            self._listed(argument, body)
        elif name in _ADMONITIONS or name in _CONTAINERS:
            inner = _Reader(self.substitutions)
            if name not in {"only", "container", "class", "figure"}:
                named = name in _ADMONITIONS and name != "admonition"
                head = f"{name.capitalize()}: {argument}".rstrip() if named else argument
                if head.rstrip(": "):
                    self.lines.append(self._inline(head))
            inner.read(_dedented(body))
            self.lines += inner.lines

    def _listed(self, title: str, body: list[str]) -> None:
        """A list-table: each "* - " starts a row, each "- " a cell."""
        rows: list[list[str]] = []
        for line in _dedented(body):
            bare = line.strip()
            if line.startswith("* -"):
                rows.append([bare[3:].strip()])
            elif rows and (bare.startswith("- ") or bare == "-"):
                rows[-1].append(bare[1:].strip())
            elif rows:
                rows[-1][-1] = f"{rows[-1][-1]} {bare}".strip()
            elif bare:
                self.lines.append(self._inline(bare))
        head = [title] if title else []
        self.lines += [*head, *(self._inline(" | ".join(row)) for row in rows), ""]

    def _grid(self, lines: list[str], i: int) -> int:
        """A table drawn with + - |: the lines of a cell are joined, a rule ends a row."""
        rows: list[list[str]] = [[]]
        while i < len(lines) and lines[i].lstrip()[:1] in {"+", "|"}:
            line = lines[i].strip()
            if line.startswith("+"):
                rows.append([])
            else:
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                row = rows[-1]
                row += [""] * (len(cells) - len(row))
                for k, cell in enumerate(cells):
                    row[k] = f"{row[k]} {cell}".strip()
            i += 1
        self.lines += [self._inline(" | ".join(row)) for row in rows if any(row)]
        self.lines.append("")
        return i

    def _simple(self, lines: list[str], i: int) -> int:
        """A table under rules of =: cells by the columns of the rule, an empty first cell goes on."""
        columns = [match.start() for match in re.finditer(r"=+", lines[i])]
        rows: list[list[str]] = []
        n_rules, k = 1, i + 1
        while k < len(lines):
            line = lines[k]
            k += 1
            if _SIMPLE.match(line):
                n_rules += 1
                if n_rules == 3 or k >= len(lines) or not lines[k]:
                    break
                continue
            if not line or re.fullmatch(r"[ -]+", line):
                continue
            ends = [*columns[1:], len(line) + 1]
            cells = [line[a:b].strip() for a, b in zip(columns, ends, strict=True)]
            if rows and not cells[0]:
                rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
            else:
                rows.append(cells)
        self.lines += [self._inline(" | ".join(row)) for row in rows]
        self.lines.append("")
        return k

    def _inline(self, text: str) -> str:
        """Words without their marks; nothing in a literal is a mark, nor what a backslash escapes."""
        kept: list[str] = []

        def keep(literal: "re.Match[str]") -> str:
            kept.append("" if literal[1] == " " else literal[1])
            return f"\0{len(kept) - 1}\0"

        text = _ESCAPED.sub(keep, _LITERAL.sub(keep, text.replace("\0", "")))
        text = _ROLE.sub(lambda role: _words_of(role[1] or role[2] or role[3]), text)
        text = _STRONG.sub(lambda strong: strong[2], text)
        text = _REFERENCE.sub(lambda reference: reference[1] or reference[2], text)
        text = _SUBSTITUTED.sub(lambda name: self.substitutions.get(name[1], name[0]), text)
        return re.sub(r"\0(\d+)\0", lambda number: kept[int(number[1])], text)


def _words_of(inside: str) -> str:
    """What is read of a role or link: "words <target>" -> words, "~a.b" -> a.b, "<url>" -> url."""
    named = re.fullmatch(r"(.*\S)\s*<[^<>]*>\s*", inside, re.DOTALL)
    name = named[1] if named else inside
    return " ".join(name.strip().strip("<>").lstrip("~!").split())


def _joined(lines: list[str]) -> str:
    """Wrapped lines as one; no blank between characters of scripts that have none."""
    text = lines[0]
    for line in lines[1:]:
        wide = text and line and all(unicodedata.east_asian_width(c) in "WF" for c in (text[-1], line[0]))
        text += line if wide else f" {line}"
    return text
