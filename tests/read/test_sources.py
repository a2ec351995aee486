from hypothesis import given
from hypothesis import strategies as st

from xgen.read.sources import Sources
from xgen.text.document import Document

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=4)
CUTS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)


def sources_of(texts: list[str]) -> Sources:
    return Sources.of([Document(f"{index}.txt", text) for index, text in enumerate(texts)])


@given(texts=TEXTS, cuts=CUTS)
def test_law_every_offset_leads_back_to_its_document(texts: list[str], cuts: list[int]) -> None:
    sources = sources_of(texts)
    for index, text in enumerate(texts):
        start, end = (min(cut, len(text)) for cut in cuts)
        if start == end:
            continue
        here = sources.starts[index]
        assert sources.text[here + start : here + end] == text[start:end]
        cited = sources.citation(here + start, here + end)
        assert (cited.path, cited.start, cited.end) == (f"{index}.txt", start, end)
        assert text[cited.start : cited.end] == cited.quote
        assert cited.verified
        assert cited.line == sources.documents[index].place(start).line


def test_page_and_line_are_those_of_the_place() -> None:
    sources = Sources.of([Document("a.md", "x"), Document("b.pdf", "one\ntwo\nthree", page_starts=(0, 4))])
    start = sources.text.index("three")
    cited = sources.citation(start, start + 5)
    assert (cited.path, cited.page, cited.line, cited.start) == ("b.pdf", 2, 2, 8)


def test_other_words_than_those_that_stand_there_are_not_verified() -> None:
    cited = sources_of(["A heron stands."]).citation(2, 7, "Heron")
    assert (cited.quote, cited.verified) == ("Heron", False)
    assert sources_of(["A heron stands."]).citation(2, 7, "heron").verified
