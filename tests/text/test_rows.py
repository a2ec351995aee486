import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.text.rows import Entry, RowReply, begins_rows, parse_rows, row_reply

words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=9)
names = st.lists(words, min_size=1, max_size=3).map(" ".join).filter(lambda name: ": " not in name)
names = names.filter(lambda name: not name.endswith(":") and name.split()[0] != "-")
values = st.lists(words.filter(lambda word: word != "⇒"), min_size=1, max_size=4).map(" ".join)
says = st.just("") | values
entries = st.lists(st.builds(Entry, names, values, st.booleans(), says), min_size=1, max_size=14)


@given(entries=entries, counted=st.booleans())
def test_law_a_reply_is_read_as_it_was_written(entries: list[Entry], counted: bool) -> None:
    reply = row_reply(entries, counted=counted)
    assert parse_rows(str(reply)) == reply
    assert begins_rows(str(reply))
    chosen = [entry.name for entry in entries if entry.holds]
    assert reply.answer == (str(len(chosen)) if counted else ", ".join(chosen) or "none")
    assert list(reply.chosen) == chosen


def test_a_value_may_hold_the_marks_of_the_form() -> None:
    entry = Entry("A", "see: b → c", True)
    assert parse_rows(f"{entry}\nA") == RowReply((entry,), "A")


@pytest.mark.parametrize(
    "text",
    ["", "Paris", "- Paris", "- Paris: the capital", "Paris: MIT → yes", "- Paris: MIT → perhaps",
     "- : x → yes", "It is so:\n- A: b → yes\nA"],
)  # fmt: skip
def test_what_is_no_such_reply(text: str) -> None:
    assert parse_rows(text) is None
    assert not begins_rows(text)


def test_a_reply_that_is_cut_keeps_its_whole_entries_and_has_no_answer() -> None:
    whole = str(row_reply([Entry("A", "x", True), Entry("B", "y", False)]))
    assert parse_rows(whole[: whole.index("B") + 1]) == RowReply((Entry("A", "x", True),), "")
    assert parse_rows(whole[: whole.index("B") - 1]) == RowReply((Entry("A", "x", True),), "")
    assert parse_rows(whole.rpartition("\n")[0]) == RowReply(
        (Entry("A", "x", True), Entry("B", "y", False)), ""
    )


def test_a_line_without_a_verdict_costs_its_entry_alone() -> None:
    first, last = Entry("A", "x", True), Entry("C", "y", False)
    assert parse_rows(f"{first}\n- B: x\n{last}\nA") == RowReply((first, last), "A")
