import json
import random
import re
import string
from functools import cache
from itertools import product
from pathlib import Path

import licence_tables
import made
import needles
import pytest
import questions as qs

from xgen.data.made import families, layouts, licences, lists, rules
from xgen.data.made.words import ASKING, LANGUAGES, asks_of, words_of

pytest.importorskip("reportlab")
HEADS = list(made.HEADS.values())


@pytest.fixture(scope="module")
def tables() -> list[made.Made]:
    return made.tables()


def cells_of(table: made.Made) -> list[dict[str, str]]:
    """The table read back out of its text, by layout."""
    body = table.text.rpartition("\n\n")[0]
    if table.layout == "leaders":
        sheets = [sheet.split("\n") for sheet in body.split("\n\n")]
        return [{HEADS[0]: s[0]} | dict(re.split(r" \.+ ", line) for line in s[2:]) for s in sheets]
    if table.layout == "pdf sheets":
        return sheets_of(body)
    lines = body.split("\n")
    if table.layout == "grid":
        rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in lines if line[0] == "|"]
    else:
        rows = [line.removesuffix(r" \\").split(" & ") for line in lines if line[0] != "\\"]
    return [dict(zip(rows[0], row, strict=True)) for row in rows if row != rows[0]]


def sheets_of(body: str) -> list[dict[str, str]]:
    """A sheet a paragraph: those side by side are read one after the other, the left ones of a page first."""
    return [
        dict(line.split(" | ") for line in sheet.split("\n"))
        for sheet in body.split("\n\n")
        if " | " in sheet
    ]


def test_two_hundred_tables_forty_a_layout_half_of_them_with_the_answer_in_a_column(
    tables: list[made.Made],
) -> None:
    assert len(tables) == 200
    for layout in made.LAYOUTS:
        some = [t for t in tables if t.layout == layout]
        assert len(some) == 40
        assert sum(HEADS[3] in t.rows[0] for t in some) == 20


def test_the_answer_follows_from_the_text_alone(tables: list[made.Made]) -> None:
    """Worked out again from the words of the text: by the column or by the note's rule."""
    n_read = 0
    for table in tables:
        flat = " ".join(table.text.split())
        assert all(name in flat for name in table.names), table.id
        has_column = HEADS[3] in table.rows[0]
        assert has_column or made.NOTE in table.text
        assert 0 < len(table.free) < len(table.rows)
        if table.layout == "pdf columns":  # cells that stand near run into one another: by lines
            lines = [line for line in table.text.split("\n") if line.startswith(table.names)]
            said = [(line.split(" | ")[0], line if has_column else None, line) for line in lines]
        else:
            rows = cells_of(table)
            if table.layout == "pdf sheets":
                rows.sort(key=lambda row: table.names.index(row[HEADS[0]]))
            assert rows == table.rows, table.id
            said = [(row[HEADS[0]], row.get(HEADS[3]), row[HEADS[1]]) for row in rows]
        free = [
            name
            for name, use, terms in said
            if not (use.endswith("may not") if use else re.search("NC|research|profit|trial", terms))
        ]
        assert free == list(table.free), table.id
        n_read += 1
    assert n_read == 200


def test_the_files_are_read_as_questions_and_as_tables(tables: list[made.Made], tmp_path: Path) -> None:
    made._write(tmp_path / "licences.jsonl", (table.line() for table in tables[:20]))
    (found,) = qs.load(tmp_path / "licences.jsonl")
    assert len(found.paragraphs) == 20
    for table, again in zip(tables, made.read_tables(tmp_path / "licences.jsonl"), strict=False):
        assert (again.text, again.names, again.free) == (table.text, table.names, frozenset(table.free))


def words_in(values: object) -> set[str]:
    return set(re.findall(r"[^\W\d_]{4,}", json.dumps(values, ensure_ascii=False).casefold()))


def test_law_the_tests_share_no_layout_name_or_phrase_with_what_is_trained() -> None:
    trained = [*licences.WHICH, *licences.WHICH_NOT, *licences.MAY, *licences.LICENCE_OF, *licences.CODE_OF]
    trained += [*licences.OPENINGS, *licences.DECIDES, *licences.CELL_OF, *licences.HOW_MANY]
    trained += [licences.note(random.Random(number)) for number in range(2000)]
    trained += [*licences.GROUPED, *licences.LEGENDS]
    trained += [*families.LICENCE_OF_PART, *families.MAY_PART, *families.FREE_TOLD, *families.WRONG]
    trained += [*families.APART, *families.NOT_ITS, *families.TOGETHER, *families.OPENINGS]
    trained += [words for told in families.BOUND_TOLD.values() for words in told]
    assert not set(made.LAYOUTS) & set(layouts.LAYOUTS)
    assert not words_in(made.STEMS) & words_in(licences.STEMS)
    assert not set(made.SIZES) & set(licences.SIZES)
    assert not set(filter(None, made.ENDINGS)) & set(licences.ENDINGS)
    heads = [
        *licences.NAME_HEADS,
        *licences.LICENCE_HEADS,
        *licences.ONE_HEADS,
        *licences.CODE_HEADS,
        *licences.USE_HEADS,
    ]
    assert not set(HEADS) & set(heads)
    phrases = {phrase(text) for text in [*made.QUESTIONS, made.LICENCE_OF, made.RULE, made.NOTE]}
    assert not phrases & {phrase(text) for text in trained}
    for text in trained:  # nor do five words in a row stand in both
        assert not runs_of(text) & runs_in_tests(), text
    bound = {name for name in made.BOUND if not name.startswith("CC-")}
    assert not bound & (set(licences.BOUND) | set(families.BOUND_TOLD))


def phrase(text: str) -> str:
    return text.casefold().translate(str.maketrans("", "", string.punctuation))


def runs_of(text: str, n: int = 5) -> set[tuple[str, ...]]:
    words = phrase(text).split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


@cache
def runs_in_tests() -> set[tuple[str, ...]]:
    """Five words in a row of all that the tests of licence tables say or ask."""
    asked = [*made.QUESTIONS, made.LICENCE_OF, made.RULE, made.NOTE, *licence_tables.QUESTIONS]
    asked += [text for table in licence_tables.tables() for text in re.split(r"\n\n+", table.text)]
    return set().union(*map(runs_of, asked))


def test_law_rules_in_words_share_no_five_words_in_a_row_with_what_the_tests_say() -> None:
    """Every question that could be asked, and the notes, heads and cells of hundreds of pages."""
    words = rules.words_in("en")
    asks = [ask for way in ("which", "inverted", "count", "among") for ask in words["ask"][way]]
    for domain in words["domain"]:
        aspects = [words["aspects"][each] if isinstance(each, str) else each for each in domain["aspects"]]
        for rows, aspect, (pos, neg) in product(domain["rows"], aspects, (("pos", "neg"), ("neg", "pos"))):
            for ask, own, other in product(asks, aspect[pos], aspect[neg]):
                yes = aspect["yes" if pos == "pos" else "no"][0]
                question = ask.format(rows=rows, pos=own, neg=other, yes=yes, name="x")
                assert not runs_of(question) & runs_in_tests(), question
    n_notes = 0
    for number in range(600):
        sheet = rules.drawn_sheet("en", random.Random(number))
        told = [sheet.note.text, *sheet.names, *(column.head for column in sheet.columns)]
        assert not any(runs_of(text) & runs_in_tests() for text in told), told
        assert not {*sheet.names, *(column.head for column in sheet.columns)} & {*made.STEMS, *HEADS}
        cells = {cell for column in sheet.columns for cell in column.cells}
        assert not cells & {name for name in made.BOUND if name != "CC-BY-NC-4.0"}
        assert not re.search("earn money|do business|without profit|not for profit|trial|purposes", told[0])
        n_notes += len(sheet.note.text.split())
    assert n_notes > 6_000


def test_a_trained_layout_cannot_be_taken_for_one_of_the_tests(tables: list[made.Made]) -> None:
    """Each test layout has a mark of its form that no trained layout writes."""
    marks = {"grid": "+===", "tabular": r"\begin{", "leaders": " ....."}
    table = layouts.Table(["Name", "A", "B"], [["x", "1", "2"], ["y", "3", "4"]])
    written = [layout(table, random.Random(0)).text for layout in layouts.LAYOUTS.values()]
    for layout, mark in marks.items():
        assert all(mark in t.text for t in tables if t.layout == layout)
        assert not any(mark in text for text in written)


def test_the_needles_towns_and_words_are_of_no_trained_language() -> None:
    places = {place for language in LANGUAGES for place in words_of(language).names["place"]}
    assert not places & set(needles._TOWNS)
    everything = [words_of(language) for language in LANGUAGES], [asks_of(language) for language in ASKING]
    assert "secret number" not in str(everything)
    assert not set(needles._TOWNS) & {lists._word(random.Random(n)) for n in range(2000)}


def test_needles_are_told_where_they_are_said_to_be() -> None:
    texts = [f"P{n} " + " ".join(f"w{n}x{i}" for i in range(40)) for n in range(400)]
    pool = [qs.Paragraph(str(n), "en", str(n), text, ()) for n, text in enumerate(texts)]
    lines = list(made.needle_lines(pool, lambda text: len(text.split()), n_texts=2))
    assert [line["length"] for line in lines] == ["2k", "2k", "4k", "4k", "8k", "8k"]
    for line in lines:
        assert [asked["depth"] for asked in line["questions"]] == list(needles.DEPTHS)
        for asked in line["questions"]:
            (answer,) = asked["answers"]
            assert line["text"][answer["start"] :].startswith(answer["text"])
            assert line["text"].count(answer["text"]) == 1
