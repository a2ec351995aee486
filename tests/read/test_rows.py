"""Replies that go through a table: what the model writes is handed in, what becomes of it is looked at."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.made.layouts import LAYOUTS, Table
from xgen.read import ask, free, trust
from xgen.read.reader import Reader
from xgen.read.rows import around, goes_round, gone_through, is_begun, is_ruled_out, joined, passed_over
from xgen.read.select import Passage
from xgen.read.sources import Sources
from xgen.text.document import Document
from xgen.text.rows import Entry, RowReply, row_reply

TABLE = Document(
    "models.md",
    "Models and their terms.\n\n| Model | Code | Weights |\n|---|---|---|\n| Tern-2B | MIT | "
    "research only |\n| Tern-2B-it | MIT | Apache-2.0 |\n| Wren-9B | MIT | CC-BY-NC-4.0 |\n\n"
    "The weights' terms decide.\n",
)
ENTRIES = [
    Entry("Tern-2B", "research only", False),
    Entry("Tern-2B-it", "Apache-2.0", True),
    Entry("Wren-9B", "CC-BY-NC-4.0", False),
]
QUESTION = "Which of the models may be used commercially?"
Says = Callable[[str], None]


@pytest.mark.parametrize("how", ["select", "whole"])
@pytest.mark.parametrize("found", [True, False])
def test_the_answer_is_what_the_rows_say_and_each_row_has_its_place(
    reader: Reader, says: Says, monkeypatch: pytest.MonkeyPatch, how: str, found: bool
) -> None:
    """Also where no single span answers: what a list of rows rests on is its own evidence."""
    monkeypatch.setattr(trust, "judge", lambda *_: trust.Judgement(found, 0.5))
    says(str(row_reply(ENTRIES)))
    answer = reader.ask(TABLE, QUESTION, how=how, max_answer_tokens=40)  # type: ignore[arg-type]
    assert answer.answer == "Tern-2B-it"
    assert not answer.cut
    assert not answer.unsupported
    assert [(row.name, row.value, row.holds) for row in answer.rows] == [
        (entry.name, entry.value, entry.holds) for entry in ENTRIES
    ]
    lines = [row.citation.quote for row in answer.rows]
    assert lines == TABLE.text.split("\n")[4:7]
    assert [row.citation.line for row in answer.rows] == [5, 6, 7]
    assert answer.right_share is None
    assert [row["holds"] for row in answer.to_json()["rows"]] == [False, True, False]
    assert "A: Tern-2B-it\n   no  Tern-2B: research only [models.md, line 5]" in str(answer)


def test_an_ordinary_answer_has_no_rows_and_a_refused_question_no_words(
    reader: Reader, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("The weights' terms decide.")
    assert reader.ask(TABLE, "What decides?").rows == ()
    monkeypatch.setattr(trust, "judge", lambda *_: trust.Judgement(False, 0.1))
    refused = reader.ask(TABLE, "Who decides?")
    assert (refused.answer, refused.rows) == (None, ())
    assert refused.answer_tokens < 3


def test_what_the_document_does_not_have_is_no_answer(reader: Reader, says: Says) -> None:
    entries = [*ENTRIES, Entry("Wren-9B-it", "MIT", True), ENTRIES[0], Entry("Wren-9B", "MIT", True)]
    says(str(row_reply(entries)))
    answer = reader.ask(TABLE, QUESTION, how="whole")
    assert answer.answer == "Tern-2B-it"
    assert answer.unsupported == ("- Wren-9B-it: MIT → yes",)


@pytest.mark.parametrize("found", [True, False])
def test_where_every_entry_is_made_up_the_span_answers_if_one_was_found(
    reader: Reader, says: Says, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    monkeypatch.setattr(trust, "judge", lambda *_: trust.Judgement(found, 0.9))
    says(str(row_reply([Entry("Heron", "MIT", True)])))
    answer = reader.ask(TABLE, QUESTION, how="whole")
    assert (answer.answer is not None and answer.answer in TABLE.text) == found
    assert answer.unsupported == ("- Heron: MIT → yes",)
    assert answer.rows == ()


def test_a_value_that_stands_nowhere_is_named(reader: Reader, says: Says) -> None:
    says(str(row_reply([Entry("Tern-2B", "GPL-2.0", True)])))
    answer = reader.ask(TABLE, QUESTION, how="whole")
    assert answer.answer == "Tern-2B"
    assert answer.unsupported == ("- Tern-2B: GPL-2.0 → yes",)


def test_a_number_is_counted_and_none_is_said(reader: Reader, says: Says) -> None:
    says(str(RowReply(tuple(ENTRIES), "7")))
    assert reader.ask(TABLE, "How many?", how="whole").answer == "1"
    says(str(row_reply(ENTRIES[:1], none="keine")))
    assert reader.ask(TABLE, QUESTION, how="whole").answer == "keine"


def test_a_reply_that_goes_round_is_ended(reader: Reader, says: Says) -> None:
    says("\n".join([*map(str, ENTRIES), *map(str, ENTRIES * 20)]))
    answer = reader.ask(TABLE, QUESTION, how="whole")
    assert answer.answer == "Tern-2B-it"
    assert not answer.cut
    assert answer.answer_tokens < 2 * len(reader.bundle.tokenizer.encode("\n".join(map(str, ENTRIES))))


@pytest.mark.parametrize("how", ["select", None])
def test_a_table_is_read_whole_though_its_passages_are_chosen(
    reader: Reader, says: Says, monkeypatch: pytest.MonkeyPatch, how: str | None
) -> None:
    written: list[free.Written] = []
    monkeypatch.setattr(ask, "write", lambda *words: written.append(free.write(*words)) or written[-1])
    rows = [f"| Model-{n} | {'MIT' if n % 2 else 'research only'} |" for n in range(30)]
    text = (
        "About birds.\n\n" * 90 + "\n".join(rows) + "\n\nWhat may be used commercially." + "\n\nOf fish." * 90
    )
    entries = [Entry(f"Model-{n}", "MIT" if n % 2 else "research only", bool(n % 2)) for n in range(8)]
    says(str(row_reply(entries)))
    document, question = Document("long.md", text), "What may be used commercially?"
    answer = reader.ask(document, question, how=how, max_answer_tokens=300)  # type: ignore[arg-type]
    n_evidence = reader.ask(document, question, quote=True).prompt_tokens
    assert answer.prompt_tokens == n_evidence + sum(each.n_prompt for each in written)
    assert len(written) == 2
    assert any(rows[0] in place.quote and rows[29] in place.quote for place in answer.read)
    is_all = any(place.quote.strip() == text.strip() for place in answer.read)
    assert is_all == (how is None)  # it fits, and nobody asked for less
    assert answer.answer == "Model-1, Model-3, Model-5, Model-7"


@given(st.lists(st.integers(50, 300), min_size=1, max_size=30), st.data())
def test_law_what_is_read_around_holds_the_chosen_and_stays_in_their_documents(
    sizes: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(sizes)))
    documents = [
        Document(str(i), " ".join("x" * 9 for _ in part)) for i, part in enumerate((sizes[:cut], sizes[cut:]))
    ]
    sources = Sources.of(documents)
    every = [
        Passage(start, start + 9, sizes[number])
        for number, start in enumerate(
            i for i, c in enumerate(sources.text) if c == "x" and sources.text[i - 1 : i] != "x"
        )
    ]
    chosen = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=3, unique=True))
    taken = around(sources, every, chosen, "- x: y → no\n")
    assert set(chosen) <= set(taken)
    assert taken == sorted(taken, key=lambda p: p.start)
    assert {sources.index_at(p.start) for p in taken} == {sources.index_at(p.start) for p in chosen}
    assert sum(p.n_tokens for p in taken) <= 2560
    whole = joined(sources, taken)
    assert sum(p.n_tokens for p in whole) == sum(p.n_tokens for p in taken)
    assert all(sources.index_at(p.start) == sources.index_at(p.end - 1) for p in whole)


@pytest.mark.parametrize(
    ("text", "begun", "ruled_out", "round_"),
    [
        ("", False, False, False),
        ("-", False, False, False),
        ("- Tern", False, False, False),
        ("Tern", False, True, False),
        ("-Tern", False, True, False),
        ("- A: b → yes", False, False, False),
        ("- A: b → yes\n", False, False, False),
        ("- A: b → yes\n-", True, False, False),
        ("- a\n- b", False, False, False),
        ("- A: b → yes\n- B: b → yes\n- A: b → yes\n", True, False, False),
        ("- A: b → yes\n- B: b → yes\n- A: b → yes\n- B: b → yes\n", True, False, True),
        ("- A: b → yes\n- A: b → yes\n", True, False, False),
        ("- A: b → yes\n- A: b → yes\n- A: b → yes\n", True, False, True),
    ],
)
def test_what_is_known_of_a_reply_while_it_is_written(
    text: str, begun: bool, ruled_out: bool, round_: bool
) -> None:
    assert (is_begun(text), is_ruled_out(text), goes_round(text)) == (begun, ruled_out, round_)


def test_a_name_may_lack_its_owner_and_its_capitals_but_no_other_part() -> None:
    text = "nest/Tern-2B | MIT\nnest/Tern-2B-it | MIT\nOld-Wren | MIT\n"
    sources = Sources.of([Document("a.txt", text)])
    entries = tuple(Entry(name, "MIT", True) for name in ("tern-2B", "Tern", "Wren", "2B-it"))
    said, rows, _ = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, ""))
    assert said == "tern-2B"
    assert rows[0].citation.quote == "nest/Tern-2B | MIT"


def rows_in(text: str, *entries: Entry, answer: str = "") -> tuple[str, list[str], tuple[str, ...]]:
    """The answer, the rows' quotes and what is passed over, where all of the text was read."""
    sources = Sources.of([Document("a.txt", text)])
    said, rows, _ = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, answer))
    return said, [row.citation.quote for row in rows], tuple(c.quote for c in passed_over(sources, rows))


@pytest.mark.parametrize("text", ["Tern-2B采用MIT许可证。", "Tern-2BはMITです。", "Tern-2B는 MIT입니다."])
def test_a_name_ends_where_a_script_without_spaces_begins(text: str) -> None:
    assert rows_in(text, Entry("Tern-2B", "MIT", True)) == ("Tern-2B", [text], ())


def test_the_place_of_a_row_is_where_its_value_is_nearest() -> None:
    text = "Of Tern and Wren.\n\nTern | MIT\nWren | MIT\nKite | MIT\n"
    _, quotes, missed = rows_in(text, Entry("Tern", "MIT", True), Entry("Wren", "MIT", True))
    assert (quotes, missed) == (["Tern | MIT", "Wren | MIT"], ("Kite | MIT",))
    _, quotes, _ = rows_in("MIT | Tern\nMIT | Wren\n", Entry("Tern", "MIT", True))
    assert quotes == ["MIT | Tern"]


@pytest.mark.parametrize("wrapped", ["", "            only"])
def test_the_value_of_another_row_is_not_this_ones(wrapped: str) -> None:
    """Though the name stands in a sentence above the table as well, and cells may go on in the next line."""
    text = f"Best known are Lind and Tay.\n\nMill | Open\nLind | no\n{wrapped}\nTay  | yes\n"
    entries = (Entry("Lind", "yes", True), Entry("Tay", "yes", True))
    sources = Sources.of([Document("a.txt", text)])
    _, rows, strange = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, ""))
    assert strange == (str(entries[0]),)
    assert [row.citation.quote for row in rows] == ["Lind | no", "Tay  | yes"]


def test_a_value_may_go_on_in_the_next_line_of_its_cell() -> None:
    text = "Tern | research\n       only\nWren | MIT\n"
    sources = Sources.of([Document("a.txt", text)])
    entries = (Entry("Tern", "research only", False), Entry("Wren", "MIT", True))
    said, _, strange = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, ""))
    assert (said, strange) == ("Wren", ())


def test_the_values_of_a_sheet_are_below_the_name() -> None:
    text = "Name | Tern\nTerms | MIT\nName | Wren\nTerms | none\n"
    sources = Sources.of([Document("a.txt", text)])
    entries = (Entry("Tern", "MIT", True), Entry("Wren", "none", False))
    said, rows, strange = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, ""))
    assert (said, strange, [row.citation.line for row in rows]) == ("Tern", (), [1, 3])


def test_a_name_counts_once_for_each_of_its_rows() -> None:
    """Said of another row it counts anew, said again or made up it does not."""
    text = "Team | Score\nTern | 2:1\nWren | 0:0\nTern | 3:3\n"
    won, drawn = Entry("Tern", "2:1", True), Entry("Tern", "3:3", True)
    entries = (won, Entry("Wren", "0:0", False), drawn, won, Entry("Tern", "9:9", True))
    sources = Sources.of([Document("a.txt", text)])
    said, rows, _ = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, "Tern"))
    assert (said, [row.value for row in rows]) == ("Tern", ["2:1", "0:0", "3:3"])
    assert gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, "2"))[0] == "2"


def through(text: str, *entries: Entry) -> tuple[str, list[int | None], tuple[str, ...]]:
    """The answer, the lines of the rows and what is not borne out, where all of the text was read."""
    sources = Sources.of([Document("a.txt", text)])
    said, rows, strange = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, ""))
    return said, [row.citation.line for row in rows], strange


LIND, TAY = Entry("Lind", "yes", True), Entry("Tay", "yes", True)
LONG = "A sentence about mills. " * 40


@pytest.mark.parametrize(
    "text",
    [
        "No. | Mill | Open\n1 | Lind | no\n2 | Tay | yes\n",
        "| Year | Mill | Open |\n|---|---|---|\n| 1901 | Lind | no |\n| 1902 | Tay | yes |\n",
        "mill,year,open\nLind,1901,no\nTay,1902,yes\n",
        "mill;open\nLind;no\nTay;yes\n",
        "year,mill,open\n1901,Lind,no\n1902,Tay,yes\n",
        f"Lind | {LONG} | no\nTay | {LONG} | yes\n",
        "| [Lind](a.md) | no |\n| [Tay](b.md) | yes |\n",
        "Mill | Open\r\nTay | yes\r\nLind | no\r\n\r\nOf others yes is said.\r\n",
    ],
    ids=["numbers", "years", "commas", "semicolons", "third", "long", "links", "windows"],
)
def test_the_row_of_a_name_is_known_wherever_its_cell_is(text: str) -> None:
    said, lines, strange = through(text, LIND, TAY)
    assert (said, strange) == ("Lind, Tay", (str(LIND),))
    assert lines == [1 + text[: text.index(name)].count("\n") for name in ("Lind", "Tay")]


@pytest.mark.parametrize(
    "text",
    [
        "| | Lind | Tay |\n|---|---|---|\n| Open | yes | yes |\n",
        "| Lind | Tay\nBuilt | 1901 | 1902\nOpen | yes | yes\n",
        "Mill | Lind | Tay\nBuilt | 1901 | 1902\nOpen | yes | yes\n",
        "Of mills | A | B\nMill | Lind | Tay\nBuilt | 1901 | 1902\nOpen | yes | yes\n",
        "| Mill | Lind |\n| Open | yes |\n| Mill | Tay |\n| Open | yes |\n",
    ],
)
def test_the_values_of_a_column_are_below_its_head(text: str) -> None:
    said, _, strange = through(text, LIND, TAY)
    assert (said, strange) == ("Lind, Tay", ())


def test_two_spaces_behind_a_sentence_make_no_table() -> None:
    text = "Lind is an old mill.  It\nstands by a river.  Now one may\nsee it, and say yes.  Tay\nis shut.\n"
    assert through(text, LIND)[2] == ()


@pytest.mark.parametrize("word", ["yes", "ja", "no"])
def test_of_one_entry_the_last_line_may_say_yes(word: str) -> None:
    one = Entry("Tern-2B-it", "Apache-2.0", word != "no")
    assert rows_in(TABLE.text, one, answer=word)[:2] == (word, [TABLE.text.split("\n")[5]])
    assert rows_in(TABLE.text, Entry("Tern-3B", "MIT", True), answer=word)[0] == "none"


def test_what_a_sentence_says_counts_where_the_row_is_silent() -> None:
    """A value in the sentence of the name, not one in a later line."""
    text = "Lind | 1901\nTay | 1902\n\nOf the two Lind said yes at once.\n\nTay did not.\nyes\n"
    assert through(text, LIND, TAY) == ("Lind, Tay", [4, 2], (str(TAY),))


def test_of_rows_that_say_the_same_each_counts_and_none_twice() -> None:
    text = "Team | Won\nLind | yes\nTay | no\nLind | yes\n"
    assert through(text, LIND, LIND, LIND)[:2] == ("Lind", [2, 4])
    assert through("Lind says yes.\n\nLind says yes.", LIND, LIND)[:2] == ("Lind", [1])


def test_what_is_made_up_of_a_name_that_has_its_row_is_named_once() -> None:
    made_up = Entry("Lind", "1999", True)
    assert through("Lind | yes\nTay | no\n", LIND, made_up, made_up) == ("Lind", [1], (str(made_up),))


def test_a_year_with_two_rows_is_no_count() -> None:
    years = [Entry("2019", "open", True), Entry("2019", "ajar", True), Entry("2020", "shut", False)]
    assert rows_in("2019 | open\n2019 | ajar\n2020 | shut\n", *years, answer="2019")[0] == "2019"


@pytest.mark.parametrize("sign", ["-", "*", "\u2022", "{}."])
@pytest.mark.parametrize("wrapped", ["", "\n  at least"])
def test_items_of_a_list_that_were_passed_over_are_named(sign: str, wrapped: str) -> None:
    """The first of them is no head, and what is set in goes on in its item; another list is not looked at."""
    said = ("Rest: two hours", "Sleep: eight", "Walk: one")
    items = [f"{sign.format(n)} {each}" for n, each in enumerate(said)]
    text = f"Of days.\n\n{(wrapped + chr(10)).join(items)}\n\nOf nights.\n\n{sign.format(9)} Moon: full\n"
    entries = (Entry("Sleep", "eight", True), Entry("Walk", "one", False))
    assert rows_in(text, *entries)[2] == (items[0] + wrapped,)


def test_a_mark_within_the_cells_of_some_rows_hides_no_others() -> None:
    text = "| Tern | MIT, 2019 |\n| Wren | none, 2020 |\n| Kite | MIT |\n"
    entries = (Entry("Tern", "MIT", True), Entry("Wren", "none", False))
    assert rows_in(text, *entries)[2] == ("| Kite | MIT |",)


def test_a_name_that_is_a_number_is_no_count() -> None:
    years = [Entry("2019", "open", True), Entry("2020", "shut", False)]
    text = "2019 | open\n2020 | shut\n"
    assert rows_in(text, *years, answer="2019")[0] == "2019"
    assert rows_in(text, *years, answer="1")[0] == "1"


def test_rows_within_a_line_tell_nothing_of_other_lines() -> None:
    """Also where what was read begins in the middle of the document's last line."""
    line = "Tern is MIT, Wren is MIT, Kite is MIT."
    entries = (Entry("Tern", "MIT", True), Entry("Wren", "MIT", True))
    assert rows_in(f"One, two, three.\n{line}", *entries)[2] == ()
    text = f"One sentence, and another, stood here. {line}"
    sources = Sources.of([Document("a.txt", text)])
    _, rows, _ = gone_through(sources, [Passage(text.index("Tern"), len(text), 1)], RowReply(entries, ""))
    assert passed_over(sources, rows) == ()


def test_names_over_broken_lines_and_values_before_them_are_found() -> None:
    text = "MIT: Tern-\n2B, Wren-9B\nresearch only: Heron\n 3B\n"
    sources = Sources.of([Document("a.txt", text)])
    entries = (Entry("Tern-2B", "MIT", True), Entry("Heron 3B", "research only", False))
    said, rows, strange = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, "Tern-2B"))
    assert (said, strange) == ("Tern-2B", ())
    assert [row.citation.quote for row in rows] == ["MIT: Tern-\n2B, Wren-9B", "research only: Heron\n 3B"]


@pytest.mark.parametrize("parting", ["pipes", "tabs", "aligned", "semicolons", "quoted"])
@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_law_rows_that_were_passed_over_are_named_and_no_others(parting: str, data: st.DataObject) -> None:
    n_rows = data.draw(st.integers(3, 9))
    rows = [
        [f"Wren-{n}B", data.draw(st.sampled_from(["MIT", "research only"])), f"{n}T"] for n in range(n_rows)
    ]
    text = LAYOUTS[parting](Table(["Name", "Terms of use", "Seen"], rows), random.Random(0)).text
    text = f"Birds, and what may be done with them, of 2023.\n\n{text}\n\nTerms are those of the weights."
    kept = data.draw(st.sets(st.integers(0, n_rows - 1), min_size=2))
    entries = tuple(Entry(row[0], row[1], True) for n, row in enumerate(rows) if n in kept)
    sources = Sources.of([Document("a.txt", text)])
    _, told, _ = gone_through(sources, [Passage(0, len(text), 1)], RowReply(entries, "x"))
    missed = [line.quote for line in passed_over(sources, told)]
    left = [row[0] for n, row in enumerate(rows) if n not in kept]
    assert [next(row[0] for row in rows if row[0] in line) for line in missed] == left


def test_in_sheets_nobody_knows_what_was_passed_over(reader: Reader, says: Says) -> None:
    text = "Tern\nWeights: MIT\n\nWren\nWeights: research only\n\nKite\nWeights: MIT\n"
    says(str(row_reply([Entry("Tern", "MIT", True), Entry("Kite", "MIT", True)])))
    answer = reader.ask(Document("a.txt", text), QUESTION, how="whole")
    assert (answer.answer, answer.passed_over) == ("Tern, Kite", ())
    says(str(row_reply(ENTRIES[:2])))
    answer = reader.ask(TABLE, QUESTION, how="whole")
    assert "passed over: \u201c| Wren-9B | MIT | CC-BY-NC-4.0 |\u201d\n   [models.md, line 7]" in str(answer)
