from hypothesis import given
from hypothesis import strategies as st

from xgen.text.document import Document, Place


def test_place_counts_lines_of_every_kind_from_one() -> None:
    text = "one\ntwo\r\nthree\rfour"
    document = Document("a.txt", text)
    places = [document.place(text.index(word)) for word in ("one", "two", "three", "four")]
    assert places == [Place(None, 1), Place(None, 2), Place(None, 3), Place(None, 4)]


def test_place_counts_lines_on_the_page() -> None:
    text = "a\nb\nc\nd"
    document = Document("a.pdf", text, page_starts=(0, 4, 4))  # the second page is empty
    assert document.place(2) == Place(1, 2)
    assert document.place(4) == Place(3, 1)
    assert document.place(6) == Place(3, 2)


def test_place_without_lines() -> None:
    assert Document("a", "a\nb", has_lines=False).place(2) == Place(None, None)


@given(st.text(st.sampled_from("ab\n\r")))
def test_law_line_is_that_of_splitlines(text: str) -> None:
    document = Document("a", text)
    for i, character in enumerate(text):
        if character not in "\r\n":
            assert document.place(i).line == len((text[:i] + "x").splitlines())
