"""DocBook 4 and 5 (https://docbook.org): manuals as they are read.

Kept: titles as headings, paragraphs, lists, tables row by row, listings with their white space, synopses,
footnotes in brackets where they stand. Left out: bibliographic information other than titles, index terms,
pictures, tables of contents.

Entities never reach the XML parser. Those of the file's own DTD subset, of the `entities` given and of
HTML are put in; one that nobody defines is read as its own name ("&true;" is "true"), so that the gap
shows, but one with a dot in its name that stands alone between elements is a file to be included and is
left out (that file is a document of its own).
"""

import html.entities
import re
from collections.abc import Mapping
from typing import Any

from xgen.data.extract.manual import Reader, Rules
from xgen.data.extract.markup import local, parse, words
from xgen.errors import BadDocument

MAX_GROWTH = 4 << 20  # characters that entities may add to one file
MAX_NESTING = 4  # entities within entities; what is nested deeper is read as its name
_INFO = words(
    "info bookinfo articleinfo chapterinfo appendixinfo partinfo prefaceinfo sectioninfo sect1info sect2info"
    " sect3info refentryinfo refsect1info setinfo glossaryinfo blockinfo"
)
_LEFT_OUT = words(
    "indexterm remark graphic inlinegraphic imageobject imageobjectco videoobject audioobject imagedata"
    " toc lot index refmeta titleabbrev areaspec colspec spanspec screeninfo alt anchor include"
)
_PARAGRAPHS = words(
    "book part chapter appendix preface article section sect1 sect2 sect3 sect4 sect5 simplesect refentry"
    " refnamediv refsynopsisdiv refsect1 refsect2 refsect3 refsection reference partintro para simpara"
    " formalpara title subtitle bridgehead note warning caution tip important danger example informalexample"
    " figure informalfigure mediaobject caption blockquote epigraph attribution abstract sidebar itemizedlist"
    " orderedlist variablelist simplelist segmentedlist procedure substeps stepalternatives calloutlist table"
    " informaltable tgroup qandaset qandadiv qandaentry question answer glossary glossdiv glosslist"
    " glossentry bibliography bibliodiv cmdsynopsis funcsynopsis classsynopsis dedication colophon"
    " acknowledgements task equation informalequation fragment set msgset msgentry topic"
)
_LINES = words(
    "term varlistentry member row refname refpurpose refdescriptor refclass seglistitem glossterm glossdef"
    " biblioentry bibliomixed funcprototype sbr methodsynopsis constructorsynopsis destructorsynopsis"
    " fieldsynopsis listitem step callout"
)
_VERBATIM = words("programlisting screen literallayout synopsis classsynopsisinfo funcsynopsisinfo")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DOCTYPE = re.compile(r"<!DOCTYPE[^\[>]*(?:\[(.*?)\]\s*)?>", re.DOTALL)
_ENTITY = re.compile(r"""<!ENTITY\s+([\w.:-]+)\s+(?:"([^"]*)"|'([^']*)')\s*>""")
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_ENCODING = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["']([\w.-]+)["']""")
_LITERAL = re.compile(r"(<!\[CDATA\[.*?\]\]>|<!--.*?-->|<\?.*?\?>)", re.DOTALL)
_USE = re.compile(r"(>\s*)?&([A-Za-z_:][\w.:-]*);(?=(\s*<)?)")
_XML = frozenset({"amp", "lt", "gt", "quot", "apos"})


def extract_docbook(data: bytes, entities: Mapping[str, str] | None = None) -> str:
    """The text of a DocBook file or of a part of one; `entities` are those of the .ent files beside it.

    Raises BadDocument if nothing in it can be read.
    """
    text = _decoded(data)
    own: dict[str, str] = {}
    doctype = _DOCTYPE.search(text)
    if doctype:
        own = _declared(doctype[1] or "")
        text = text[: doctype.start()] + text[doctype.end() :]
    text = _resolved(_DECLARATION.sub("", text), {**(entities or {}), **own})
    # Wrapped, because a file that others include may have several roots; mended, because an entity of
    # strangers may hold half an element.
    root = parse(f"<fragment>{text}</fragment>".encode(), "DocBook", recover=True)
    if not any(local(element) in _PARAGRAPHS for element in root.iterdescendants()):
        raise BadDocument("DocBook", "no element in it is one of DocBook's blocks", "leave it out")
    ids = ("id", "{http://www.w3.org/XML/1998/namespace}id")
    targets = {
        element.get(name): element for element in root.iterdescendants() for name in ids if element.get(name)
    }
    reader = Reader(_RULES, targets)
    reader.read(root)
    result = reader.flow.text()
    if not result:
        raise BadDocument("DocBook", "there is no text in it", "leave it out")
    return result


def entities_of(data: bytes) -> dict[str, str]:
    """The entities that a .ent file defines by a value (those that name a file or an address are not)."""
    return _declared(_decoded(data))


def _declared(text: str) -> dict[str, str]:
    """Later definitions do not override earlier ones, as XML has it."""
    found: dict[str, str] = {}
    for name, double, single in _ENTITY.findall(_COMMENT.sub("", text)):
        found.setdefault(name, double or single)
    return found


def _decoded(data: bytes) -> str:
    stated = _ENCODING.match(data[:200].lstrip(b"\xef\xbb\xbf \r\n"))
    try:
        return data.decode(stated[1].decode() if stated else "utf-8-sig").lstrip("\ufeff")
    except (LookupError, UnicodeError) as error:
        raise BadDocument("DocBook", f"its characters cannot be read ({error})", "leave it out") from error


def _resolved(text: str, entities: Mapping[str, str]) -> str:
    """`text` with its entities put in, outside of comments and literal sections."""
    left = MAX_GROWTH

    def value(name: str, alone: bool, depth: int) -> str:
        nonlocal left
        if name in _XML:
            return f"&{name};"
        if name in entities and depth < MAX_NESTING:
            inside = put_in(entities[name], depth + 1)
            left -= len(inside)
            if left < 0:
                what = f"its entities add more than {MAX_GROWTH:,} characters"
                raise BadDocument("DocBook", what, "leave it out")
            return inside
        if name + ";" in html.entities.html5:
            return html.entities.html5[name + ";"].replace("&", "&amp;").replace("<", "&lt;")
        return "" if alone and "." in name else name

    def put_in(part: str, depth: int) -> str:
        return _USE.sub(
            lambda use: (use[1] or "") + value(use[2], bool(use[1]) and use[3] is not None, depth), part
        )

    pieces = _LITERAL.split(text)
    return "".join(piece if i % 2 else put_in(piece, 0) for i, piece in enumerate(pieces))


def _info(reader: Reader, element: Any) -> None:
    """Of what is said about the text, its titles and its abstract."""
    for child in element:
        if local(child) in {"title", "subtitle", "abstract"}:
            reader.read(child)


def _reference(reader: Reader, element: Any) -> None:
    """A reference without words of its own: the title it points to, if it is in this file, else its name."""
    target = element.get("linkend") or element.get("{http://www.w3.org/1999/xlink}href") or ""
    if element.get("url") or len(element) or (element.text or "").strip():
        reader.children(element)
        if not reader.apart(element):
            reader.flow.words(element.get("url"))
        return
    other = reader.targets.get(target)
    title = (
        None if other is None else next((e for e in other.iter() if local(e) in {"title", "refname"}), None)
    )
    if title is None or any(above is title for above in element.iterancestors()):
        reader.flow.words(target)
    else:
        reader.flow.words(" ".join("".join(title.itertext()).split()))


def _wrapped(before: str, after: str) -> Any:
    """Words between two signs."""

    def read(reader: Reader, element: Any) -> None:
        reader.flow.words(before)
        reader.children(element)
        reader.flow.words(after)

    return read


def _menu(reader: Reader, element: Any) -> None:
    """A way through menus, the keys that save it in brackets behind: "File → Save (Ctrl+S)"."""
    keys = [reader.apart(child) for child in element if local(child) == "shortcut"]
    steps = [reader.apart(child) for child in element if local(child) not in ("", "shortcut")]
    loose = [
        part.strip() for part in (element.text, *(child.tail for child in element)) if part and part.strip()
    ]
    steps = [*(step for step in steps if step), *loose]
    reader.flow.words(" → ".join(steps) + "".join(f" ({key})" for key in keys if key))


def _footnote(reader: Reader, element: Any) -> None:
    reader.flow.words(f" ({reader.apart(element)})")


def _function(reader: Reader, element: Any) -> None:
    name = reader.apart(element)
    reader.flow.words(name if name.endswith(")") else f"{name}()")


def _method(reader: Reader, element: Any) -> None:
    """A signature in one line: modifiers, type, name(parameters)."""
    before, parameters = [], []
    for child in element:
        if local(child) in {"methodparam", "void"}:
            parameters.append(
                " ".join(_signed(reader, part) for part in child if local(part)) or local(child)
            )
        elif local(child):
            before.append(_signed(reader, child))
    reader.flow.line()
    reader.flow.words(f"{' '.join(word for word in before if word)}({', '.join(parameters)})")
    reader.flow.line()


def _signed(reader: Reader, element: Any) -> str:
    """A part of a signature: a union of types as "int|null", a default as "= 0"."""
    if local(element) == "type" and len(element):
        return "|".join(reader.apart(part) for part in element if local(part))
    part = reader.apart(element)
    return f"= {part}" if local(element) == "initializer" and part else part


_RULES = Rules(
    paragraphs=_PARAGRAPHS,
    lines=_LINES,
    verbatim=_VERBATIM,
    left_out=_LEFT_OUT,
    bullets=frozenset({"itemizedlist"}),
    numbers=frozenset({"orderedlist", "procedure", "substeps"}),
    items=frozenset({"listitem", "step"}),
    cells=frozenset({"entry"}),
    between={"keycombo": "+"},
    special={
        **dict.fromkeys(_INFO, _info),
        **dict.fromkeys(("xref", "link", "ulink"), _reference),
        **dict.fromkeys(("methodsynopsis", "constructorsynopsis", "destructorsynopsis"), _method),
        "menuchoice": _menu,
        "footnote": _footnote,
        "function": _function,
        "quote": _wrapped("“", "”"),
        "superscript": _wrapped("^", ""),
    },
)
