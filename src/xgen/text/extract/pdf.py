"""PDF: pages laid out from the boxes of their characters; running headers, footers and numbers left out."""

import contextlib
import ctypes
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from xgen.errors import BadDocument
from xgen.text.document import Document
from xgen.text.extract.layout import Word, page_lines, rows_of
from xgen.text.extract.mend import mend_characters, mend_lines, runs_on
from xgen.text.extract.running import running_rows
from xgen.text.extract.tables import joined

# TeX draws an accent and then the letter below it.
_ACCENTS = {
    "´": "\u0301",
    "`": "\u0300",
    "¨": "\u0308",
    "ˆ": "\u0302",
    "˜": "\u0303",
    "ˇ": "\u030c",
    "¸": "\u0327",
}


@dataclass(frozen=True)
class _Page:
    """What stands on one page: words in its main direction, then lines in others."""

    words: list[Word]
    turned: list[str]
    bottom: float
    top: float
    is_blank: bool  # nothing at all is drawn on it
    n_unmapped: int  # characters drawn without saying which they are
    is_broken: bool = False


def extract(data: bytes, name: str) -> Document:
    """The document of a PDF; raises BadDocument for an encrypted or broken one and for a mere scan."""
    pages = list(_read_pages(data, name))
    if not any(page.words or page.turned for page in pages):
        if all(page.is_blank for page in pages):
            raise BadDocument(name, "this PDF holds no text", "name a file with text in it")
        raise BadDocument(
            name,
            "none of its pages has a text layer (it is a scan, or drawn as pictures)",
            "recognise its text (OCR) first, for example with ocrmypdf",
        )
    running = running_rows([(rows_of(page.words), page.bottom, page.top) for page in pages])
    lines = []
    for i, page in enumerate(pages):
        rows = rows_of(page.words)
        words = [word for j, row in enumerate(rows) if (i, j) not in running for word in row]
        lines.append([*page_lines(words), "", *page.turned])
    text, page_starts = _bound([joined(page) for page in mend_lines(lines)])
    if not text:
        raise BadDocument(name, "this PDF holds nothing but page headers", "name a file with text in it")
    return Document(name, text, page_starts, dropped=tuple(_dropped(pages, running)))


def _bound(texts: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """The pages as one text, an empty line between them unless a sentence runs on; where each begins."""
    text, starts = "", []
    for page in texts:
        if text and page:
            text += "\n" if runs_on(text[-200:], page[:200]) else "\n\n"
        starts.append(len(text))
        text += page
    # A page without text begins where the next one with text does.
    for i in reversed(range(len(texts) - 1)):
        if not texts[i]:
            starts[i] = starts[i + 1]
    return text, tuple(starts)


def _dropped(pages: Sequence[_Page], running: dict[tuple[int, int], str]) -> Iterator[str]:
    empty = [i for i, page in enumerate(pages) if not (page.words or page.turned or page.is_blank)]
    for what, numbers in (
        ("no text layer", [i for i in empty if not pages[i].is_broken]),
        ("damage and could not be read", [i for i in empty if pages[i].is_broken]),
    ):
        if len(numbers) == 1:
            yield f"page {numbers[0] + 1} has {what}"
        elif numbers:
            yield f"{len(numbers)} pages have {what}: {', '.join(str(i + 1) for i in numbers)}"
    if running:
        quoted = [f'"{line}"' for line, _ in Counter(running.values()).most_common()]
        more = f" and {len(quoted) - 3} more" if len(quoted) > 3 else ""
        yield (
            f"page headers, footers and numbers are left out: {len(running)} lines "
            f"on {len({page for page, _ in running})} pages ({', '.join(quoted[:3])}{more})"
        )
    unmapped = sum(page.n_unmapped for page in pages)
    if unmapped:
        yield f"{unmapped} characters are drawn without saying which they are"


# ---- characters to words ---------------------------------------------------------------------------


Point = tuple[float, float]
_NOWHERE = (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)


@dataclass(frozen=True)
class _Glyph:
    """One character as pdfium reports it, in the order of writing."""

    text: str
    is_space: bool
    corners: tuple[Point, Point, Point]  # left bottom, right top (of its font's full height), origin
    turn: int | None  # quarter turns against the clock; None if at another angle


def _read_pages(data: bytes, name: str) -> Iterator[_Page]:
    import pypdfium2 as pdfium  # type: ignore[import-untyped]

    try:
        pdf = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if error.err_code == pdfium.raw.FPDF_ERR_PASSWORD:
            raise BadDocument(name, "it is encrypted", "save it without a password") from error
        if error.err_code == pdfium.raw.FPDF_ERR_SECURITY:
            raise BadDocument(
                name, "it is encrypted in an unknown way", "save it without encryption"
            ) from error
        raise BadDocument(name, "this PDF is broken", "download it or export it again") from error
    with contextlib.closing(pdf):
        if not len(pdf):
            raise BadDocument(name, "this PDF has no pages", "download it or export it again")
        pdf.init_forms()
        for i in range(len(pdf)):
            try:
                if pdf.formenv:
                    with contextlib.closing(pdf[i]) as page:
                        page.flatten()  # what was filled into the form becomes text of the page
                with contextlib.closing(pdf[i]) as page:
                    read = _read_page(page)
            except pdfium.PdfiumError:
                read = _Page([], [], 0, 1, is_blank=False, n_unmapped=0, is_broken=True)
            yield read


def _read_page(page: Any) -> _Page:
    with contextlib.closing(page.get_textpage()) as textpage:
        glyphs, n_unmapped = _glyphs(textpage.raw)
    turns = Counter(glyph.turn for glyph in glyphs if not glyph.is_space and glyph.turn is not None)
    main = turns.most_common(1)[0][0] if turns else 0
    left, bottom, right, top = page.get_cropbox()
    bottom, top = sorted(y for _, y in _turned_back([(left, bottom), (right, top)], main))
    is_blank = not glyphs and not any(True for _ in page.get_objects(max_depth=1))
    return _Page(_words(glyphs, main), _other_lines(glyphs, main), bottom, top, is_blank, n_unmapped)


def _glyphs(textpage: Any) -> tuple[list[_Glyph], int]:
    """The characters of a page, and the number of those that the file gives no meaning."""
    from pypdfium2 import raw

    glyphs: list[_Glyph] = []
    n_unmapped = 0
    box, x, y = raw.FS_RECTF(), ctypes.c_double(), ctypes.c_double()
    for i in range(raw.FPDFText_CountChars(textpage)):
        code = raw.FPDFText_GetUnicode(textpage, i)
        if code in (0, 0xFFFD, 0xFFFF):
            n_unmapped += 1
            continue
        text = chr(code)
        if 0xDC00 <= code < 0xE000 and glyphs and 0xD800 <= ord(glyphs[-1].text[-1]) < 0xDC00:
            pair = glyphs.pop()  # where wchar_t has 16 bits, pdfium gives halves
            text = (pair.text + text).encode("utf-16", "surrogatepass").decode("utf-16")
        if text.isspace() or raw.FPDFText_IsGenerated(textpage, i) == 1:
            glyphs.append(_Glyph(text, True, _NOWHERE, None))
            continue
        raw.FPDFText_GetLooseCharBox(textpage, i, box)
        raw.FPDFText_GetCharOrigin(textpage, i, x, y)
        quarters = raw.FPDFText_GetCharAngle(textpage, i) / (math.pi / 2)
        turn = -round(quarters) % 4 if abs(quarters - round(quarters)) < 0.1 else None
        last = glyphs[-1] if glyphs else None
        if last and last.text in _ACCENTS and box.left < sum(x for x, _ in last.corners[:2]) / 2 < box.right:
            text = unicodedata.normalize("NFC", text.replace("ı", "i") + _ACCENTS[last.text])
            glyphs.pop()
        corners = (box.left, box.bottom), (box.right, box.top), (x.value, y.value)
        glyphs.append(_Glyph(text, False, corners, turn))
    return glyphs, n_unmapped


def _words(glyphs: Sequence[_Glyph], main: int) -> list[Word]:
    """Words of the glyphs in the main direction, which is turned to run rightwards."""
    words: list[Word] = []
    spaced = True
    for glyph in glyphs:
        if glyph.is_space or glyph.turn != main:
            spaced = True
            continue
        (x0, ya), (x1, yb), (_, y) = glyph.corners if main == 0 else _turned_back(glyph.corners, main)
        x0, x1, size = min(x0, x1), max(x0, x1), max(abs(yb - ya), 1.0)
        last = words[-1] if words else None
        is_near = last is not None and max(x0 - last.x1, last.x0 - x1) < 0.3 * max(size, last.size)
        if last is not None and is_near and size < 0.9 * last.size and 0 < abs(y - last.y) < 0.6 * last.size:
            y = last.y  # a superscript or subscript stays on its line
        text = glyph.text
        if last is not None and not spaced and is_near and abs(y - last.y) < 0.1 * size:
            joint = last.text + text, min(last.x0, x0), max(last.x1, x1), last.y, max(last.size, size)
            words[-1] = Word(*joint, last.index, last.glued)
        else:
            glued = not spaced and is_near and last is not None and abs(y - last.y) < 0.6 * last.size
            words.append(Word(text, x0, x1, y, size, len(words), glued))
        spaced = False
    for i, (word, following) in enumerate(pairwise(words)):  # a mark of a footnote, on the line of its note
        is_raised = word.size < 0.9 * following.size and 0 < abs(word.y - following.y) < 0.6 * following.size
        if is_raised and abs(following.x0 - word.x1) < 0.5 * following.size:
            words[i] = replace(word, y=following.y)
    mended = (replace(word, text=mend_characters(word.text)) for word in words)
    return [word for word in mended if word.text]


def _turned_back(points: Sequence[Point], quarters: int) -> list[Point]:
    """Points of a page that was turned against the clock, turned back."""
    return [[(x, y), (y, -x), (-x, -y), (-y, x)][quarters] for x, y in points]


def _other_lines(glyphs: Sequence[_Glyph], main: int) -> list[str]:
    """What runs in other directions, such as a stamp along the margin, in the order of writing."""
    text = ""
    for glyph in glyphs:
        text += glyph.text if glyph.is_space or glyph.turn != main else "\n"
    lines = [mend_characters(" ".join(line.split())) for line in text.splitlines()]
    return [line for line in lines if line]
