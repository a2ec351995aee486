import contextlib
import io
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Frame,
    PageTemplate,
    Paragraph,
    SimpleDocTemplate,
    Table,
    TableStyle,
)

from xgen.errors import BadDocument
from xgen.text.document import Document, Place
from xgen.text.extract import open_document
from xgen.text.extract.pdf import extract

WIDTH, HEIGHT = A4
WORDS = re.findall(
    r"\w+",
    "the model reads long documents and answers questions about them with the page on which each answer "
    "stands so that a person may look it up there are many pages in some of them and few in others while "
    "tables hold names dates and sums that should stay together in their rows",
)


def prose(n_words: int, seed: int = 0) -> str:
    chosen = random.Random(seed)
    sentences, words = [], [chosen.choice(WORDS) for _ in range(n_words)]
    while words:
        length = chosen.randint(6, 14)
        sentences.append(" ".join(words[:length]).capitalize() + ".")
        words = words[length:]
    return " ".join(sentences)


def drawn(*pages: Callable[[Canvas], object], **options: Any) -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, **options)
    for draw in pages:
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def lines_at(x: float, y: float, *lines: str) -> Callable[[Canvas], None]:
    def draw(canvas: Canvas) -> None:
        for i, line in enumerate(lines):
            canvas.drawString(x, y - 14 * i, line)

    return draw


def read(data: bytes) -> Document:
    return extract(data, "a.pdf")


def normal(text: str) -> str:
    return " ".join(text.split())


def stranger_words(data: bytes) -> Counter[str]:
    """The words that pdfium itself finds, in whatever order."""
    pdf = pypdfium2.PdfDocument(data)
    return Counter(" ".join(page.get_textpage().get_text_bounded() for page in pdf).split())


def test_pages_lines_and_offsets(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(
        drawn(
            lines_at(72, 700, "The first page says this.", "And a second line."),
            lines_at(72, 700, "The second page.", "Signed by Ada."),
        )
    )
    document = open_document(tmp_path / "a.pdf")
    assert (
        document.text == "The first page says this.\nAnd a second line.\n\nThe second page.\nSigned by Ada."
    )
    assert document.page_starts == (0, document.text.index("The second"))
    assert document.place(document.text.index("Ada")) == Place(2, 2)
    assert document.dropped == ()


def test_a_sentence_runs_on_over_pages() -> None:
    document = read(
        drawn(lines_at(72, 700, "This sentence goes on and is exam-"), lines_at(72, 700, "ple enough. Next."))
    )
    assert document.text == "This sentence goes on and is example\nenough. Next."
    assert document.place(document.text.index("enough")) == Place(2, 1)


def test_a_page_without_text_is_named() -> None:
    def picture(canvas: Canvas) -> None:
        canvas.rect(100, 100, 200, 200, fill=1)

    text = lines_at(72, 700, "Words.")
    document = read(drawn(text, picture, text, lambda canvas: None))
    assert document.dropped == ("page 2 has no text layer",)
    assert document.place(document.text.rindex("Words")).page == 3
    assert read(drawn(picture, text, picture)).dropped == ("2 pages have no text layer: 1, 3",)
    with pytest.raises(BadDocument, match=r"none of its pages has a text layer.*OCR"):
        read(drawn(picture, picture))
    with pytest.raises(BadDocument, match="holds no text"):
        read(drawn(lambda canvas: None))


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_turned_pages(turn: int) -> None:
    """Drawn sideways and shown upright, as a landscape table in a portrait document."""

    def draw(canvas: Canvas) -> None:
        canvas.setPageRotation(turn)
        canvas.translate(*{0: (0, 0), 90: (WIDTH, 0), 180: (WIDTH, HEIGHT), 270: (0, HEIGHT)}[turn])
        canvas.rotate(turn)
        lines_at(50, 400, "The first line.", "The second line.", "The third line.")(canvas)

    assert read(drawn(draw)).text.splitlines() == ["The first line.", "The second line.", "The third line."]


def test_a_stamp_along_the_margin_is_kept_apart() -> None:
    def draw(canvas: Canvas) -> None:
        lines_at(72, 700, "The first line.", "The second line.")(canvas)
        canvas.rotate(90)
        canvas.drawString(500, -40, "Preprint of 2023")
        canvas.rotate(-45)
        canvas.drawString(500, 0, "DRAFT")

    assert read(drawn(draw)).text == "The first line.\nThe second line.\n\nPreprint of 2023\nDRAFT"


def test_filled_form_fields_are_read() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(72, 700, "Signed by:")
        canvas.acroForm.textfield(value="Ada Lovelace", name="signature", x=150, y=690, width=200, height=20)

    assert normal(read(drawn(draw)).text).replace(" | ", " ") == "Signed by: Ada Lovelace"


# ---- words -----------------------------------------------------------------------------------------


def test_ligatures(font: str) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont(font, 12)
        canvas.drawString(72, 700, "The ﬁrst oﬃce has a ﬂat ﬂoor")

    assert read(drawn(draw)).text == "The first office has a flat floor"


@pytest.fixture(scope="module")
def font() -> str:
    """A TrueType font with ligatures that is installed with matplotlib."""
    ttfonts = pytest.importorskip("reportlab.pdfbase.ttfonts")
    matplotlib = pytest.importorskip("matplotlib")
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    pdfmetrics.registerFont(ttfonts.TTFont("DejaVu", path))
    return "DejaVu"


def test_scripts(font: str) -> None:
    pdfmetrics.registerFont(UnicodeCIDFont("HeiseiMin-W3"))
    chinese = "日本語のテキストです。これは長い文章です。"

    def draw(canvas: Canvas) -> None:
        canvas.setFont("HeiseiMin-W3", 12)
        canvas.drawString(72, 700, chinese)
        canvas.setFont(font, 12)
        canvas.drawString(72, 650, "Привет, мир! Grüße, œuvre, Ελλάδα")

    assert read(drawn(draw)).text.split("\n\n") == [chinese, "Привет, мир! Grüße, œuvre, Ελλάδα"]


def test_superscripts_stay_on_their_line() -> None:
    def draw(canvas: Canvas) -> None:
        text = canvas.beginText(72, 700)
        text.textOut("The area is 5 m")
        text.setRise(5)
        text.setFont("Helvetica", 7)
        text.textOut("2")
        text.setRise(0)
        text.setFont("Helvetica", 12)
        text.textOut(" in all.")
        canvas.drawText(text)

    assert read(drawn(draw)).text == "The area is 5 m2 in all."


# ---- layout ----------------------------------------------------------------------------------------


def paper(n_words: int, header: bool = True) -> bytes:
    """Two columns with a title over both, a running header and page numbers."""

    def margins(canvas: Canvas, template: BaseDocTemplate) -> None:
        canvas.setFont("Helvetica", 9)
        if header:
            canvas.drawString(72, HEIGHT - 40, "Journal of Long Documents")
            canvas.drawCentredString(WIDTH / 2, 30, f"- {template.page + 11} -")

    file = io.BytesIO()
    template = BaseDocTemplate(file, pagesize=A4)
    frames = [Frame(x, 60, 220, HEIGHT - 180) for x in (70, 305)]
    template.addPageTemplates(PageTemplate(frames=frames, onPage=margins))
    style = getSampleStyleSheet()["BodyText"]
    style.alignment = 4  # justified: word spaces as wide as they get
    template.build([Paragraph(prose(n_words // 4, seed), style) for seed in range(4)])
    return file.getvalue()


def test_two_columns_in_reading_order() -> None:
    expected = [prose(300, seed) for seed in range(4)]
    document = read(paper(1200))
    assert len(document.page_starts) == 2
    assert normal(document.text) == " ".join(expected)
    (dropped,) = document.dropped
    assert dropped == (
        "page headers, footers and numbers are left out: 4 lines on 2 pages "
        '("Journal of Long Documents", "- # -")'
    )


def test_a_title_over_two_columns_and_text_below() -> None:
    left = [
        "The left column is read before the",
        "right one is, down to its end and",
        "no line is mixed up with others.",
    ]
    right = [
        "This is what stands on the right",
        "and it comes after all of the left",
        "column, which is what one wants.",
    ]

    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 20)
        canvas.drawCentredString(WIDTH / 2, 740, "A title as wide as both of the columns")
        canvas.setFont("Helvetica", 11)
        lines_at(72, 700, *left)(canvas)
        lines_at(310, 703, *right)(canvas)  # not on the same baselines
        canvas.drawString(72, 600, "Below them a line runs from the left over the gutter to the right.")

    assert read(drawn(draw)).text.split("\n\n") == [
        "A title as wide as both of the columns",
        "\n".join(left),
        "\n".join(right),
        "Below them a line runs from the left over the gutter to the right.",
    ]


def test_a_table_over_both_columns_and_contents_beside_prose() -> None:
    def draw(canvas: Canvas) -> None:
        for i, row in enumerate(
            [("Command", "Number", "Comment"), ("author", "100", "one"), ("table", "300", "all")]
        ):
            for x, cell in zip((150, 220, 340), row, strict=True):
                canvas.drawString(x, 760 - 14 * i, cell)
        lines_at(72, 700, *(f"Chapter {i}" for i in range(8)))(canvas)
        lines_at(300, 704, *(f"line {i} of what is written at the right side" for i in range(9)))(canvas)

    table, contents, right = read(drawn(draw)).text.split("\n\n")
    assert table.splitlines() == ["Command | Number | Comment", "author | 100 | one", "table | 300 | all"]
    assert contents.splitlines() == [f"Chapter {i}" for i in range(8)]
    assert right.splitlines() == [f"line {i} of what is written at the right side" for i in range(9)]


LICENCES = [
    ["Model", "Licence", "Commercial use"],
    ["XGen-7B-4K-base", "Apache-2.0", "yes"],
    ["XGen-7B-8K-base", "Apache-2.0", "yes"],
    ["XGen-7B-8K-inst", "research only", "no"],
    ["LLaMA-7B", "non-commercial", "no"],
]


@pytest.mark.parametrize("grid", [True, False])
@pytest.mark.parametrize("align", ["LEFT", "RIGHT", "CENTER"])
def test_a_table_of_licences_row_by_row(grid: bool, align: str) -> None:
    body = getSampleStyleSheet()["BodyText"]
    style = [("ALIGN", (0, 0), (-1, -1), align), *([("GRID", (0, 0), (-1, -1), 1, "black")] if grid else [])]
    file = io.BytesIO()
    story = [
        Paragraph(prose(60), body),
        Table(LICENCES, style=TableStyle(style)),
        Paragraph(prose(60, 1), body),
    ]
    SimpleDocTemplate(file).build(story)
    before, table, after = read(file.getvalue()).text.split("\n\n")
    assert table.splitlines() == [" | ".join(row) for row in LICENCES]
    assert (normal(before), normal(after)) == (prose(60), prose(60, 1))


def test_cells_of_several_lines_are_one_row() -> None:
    body = getSampleStyleSheet()["BodyText"]
    rows = [[row[0], Paragraph(f"{row[1]}: {prose(20, i)}", body), row[2]] for i, row in enumerate(LICENCES)]
    file = io.BytesIO()
    SimpleDocTemplate(file).build(
        [Table(rows, colWidths=[130, 200, 100], style=[("VALIGN", (0, 0), (-1, -1), "TOP")])]
    )
    assert read(file.getvalue()).text.splitlines() == [
        f"{row[0]} | {row[1]}: {prose(20, i)} | {row[2]}" for i, row in enumerate(LICENCES)
    ]


def test_a_table_over_pages_keeps_its_head() -> None:
    rows = [["Name", "Sum"], *([f"row {i}", f"{i * 37 % 100} EUR"] for i in range(150))]
    file = io.BytesIO()
    SimpleDocTemplate(file, topMargin=20, bottomMargin=20).build([Table(rows, repeatRows=1)])
    document = read(file.getvalue())
    assert document.dropped == ()
    lines = document.text.split("\n")
    assert [line for line in lines if line.startswith("row")] == [" | ".join(row) for row in rows[1:]]
    assert lines.count("Name | Sum") == len(document.page_starts) > 2


def test_a_list_is_no_table() -> None:
    def draw(canvas: Canvas) -> None:
        for i, text in enumerate(["the first of these items", "the second one", "the third"]):
            canvas.drawString(72, 700 - 14 * i, f"{i + 1}.")
            canvas.drawString(100, 700 - 14 * i, text)

    assert read(drawn(draw)).text.splitlines() == [
        "1. the first of these items",
        "2. the second one",
        "3. the third",
    ]


def test_a_title_is_no_running_header() -> None:
    def page(number: int) -> Callable[[Canvas], None]:
        def draw(canvas: Canvas) -> None:
            canvas.setFont("Helvetica", 9 if number > 1 else 24)
            canvas.drawString(72, 800, "The Story of XGen")
            canvas.setFont("Helvetica", 12)
            canvas.drawString(72, 700, f"Body number {number * number}.")
            canvas.drawString(300, 30, str(number))

        return draw

    document = read(drawn(*(page(n) for n in range(1, 6))))
    assert document.text.startswith("The Story of XGen\n\nBody number 1.")
    assert document.text.count("Story") == 1
    assert normal(re.sub("Body number", "", document.text)) == "The Story of XGen 1. 4. 9. 16. 25."


def test_against_pdfium_words() -> None:
    """No word lost and none made up: the same words as pdfium's own extraction finds."""
    data = paper(1000, header=False)
    assert Counter(read(data).text.split()) == stranger_words(data)


# ---- bad files -------------------------------------------------------------------------------------


def test_encrypted() -> None:
    text = lines_at(72, 700, "Secret words.")
    with pytest.raises(BadDocument, match="encrypted; save it without a password"):
        read(drawn(text, encrypt=StandardEncryption("user", "owner", strength=128)))
    assert read(drawn(text, encrypt=StandardEncryption("", "owner", canCopy=0))).text == "Secret words."


GOOD = drawn(lines_at(72, 700, "Words."))


@pytest.mark.parametrize(
    "data",
    [b"%PDF-1.7", b"%PDF-1.4\n" + bytes(range(256)) * 20, GOOD[: len(GOOD) // 3], b"no PDF at all", b"\0"],
)
def test_broken(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pdf").write_bytes(data)
    with pytest.raises(BadDocument, match=r"a\.pdf: this PDF is broken; ") as caught:
        open_document(tmp_path / "a.pdf")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_are_read_or_refused(seed: int) -> None:
    chosen = random.Random(seed)
    data = bytearray(paper(300))
    for _ in range(40):
        data[chosen.randrange(len(data))] = chosen.randrange(256)
    with contextlib.suppress(BadDocument):
        assert read(bytes(data)).text.strip()
