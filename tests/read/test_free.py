"""Free answers: what the model writes is handed in, what becomes of it is looked at."""

from collections.abc import Callable

import pytest

from xgen.read import trust
from xgen.read.reader import Reader
from xgen.text.document import Document

SURVEY = Document(
    "survey.txt",
    "The survey of the lower river was led by Ada Moreau.\n\nShe counted 412 herons between the old mill "
    "and the sea.\n\nThe work was paid for by the town of Brelle and finished on 3 May 2021.\n\n \n",
)
LETTER = Document("letter.md", "# To the council\n\nDear all, the mill is closed on Mondays 🐦.\n")
Says = Callable[[str], None]


def test_each_sentence_of_a_free_answer_is_held_against_the_documents(reader: Reader, says: Says) -> None:
    borne_out = "The survey was led by Ada Moreau."
    made_up = "Geese from Karvonia have ruled Mars since 1812."
    says(f" {borne_out} {made_up}")
    for how in ("select", "whole"):
        answer = reader.ask([LETTER, SURVEY], "Who led it?", how=how, max_answer_tokens=200)
        assert answer.answer == f"{borne_out} {made_up}"
        (cited,) = answer.citations
        assert (cited.path, cited.verified) == ("survey.txt", True)
        assert SURVEY.text[cited.start : cited.end] == cited.quote
        assert "Ada Moreau" in cited.quote
        assert made_up in answer.unsupported
        assert borne_out not in answer.unsupported
        assert any("1812" in piece and piece != made_up for piece in answer.unsupported)


@pytest.mark.parametrize("reply", ["not in the document", ' "Not in the document." '])
@pytest.mark.parametrize(("share", "found"), [(0.6, True), (0.6, False), (None, False)])
def test_a_model_that_declines_is_overruled_by_good_evidence_only(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, says: Says, reply: str, share: float | None, found: bool
) -> None:
    monkeypatch.setattr(trust, "judge", lambda *_: trust.Judgement(True, share, overrules=found))
    says(reply)
    answer = reader.ask(SURVEY, "Who signed it?")
    assert answer.found == found
    if answer.answer is not None:
        (cited,) = answer.citations
        assert cited.verified
        assert answer.answer in cited.quote
        assert answer.right_share == share


def test_what_a_free_answer_puts_in_quotation_marks_must_stand_there(reader: Reader, says: Says) -> None:
    invented = "the geese of Karvonia sang all night"
    says(f"The survey says \u201c{invented}\u201d.")
    assert invented in reader.ask(SURVEY, "What does it say?").unsupported
    standing = SURVEY.text[:30].strip()
    says(f"The survey says \u201c{standing}\u201d.")
    assert standing not in reader.ask(SURVEY, "What does it say?").unsupported


def test_what_nearly_stands_there_is_cited_as_such(reader: Reader, says: Says) -> None:
    nearly = "She counted 412 heron between the old mill and the sea"
    says(f"The survey says \u201c{nearly}\u201d.")
    answer = reader.ask(SURVEY, "What does it say?")
    (cited,) = [cited for cited in answer.citations if not cited.verified]
    assert cited.quote == nearly
    assert "412 herons" in SURVEY.text[cited.start : cited.end]
    assert nearly not in answer.unsupported


@pytest.mark.parametrize("reply", ["the mill " * 40, "yes " * 60, "", "  "])
def test_a_model_that_says_nothing_or_the_same_again_leaves_it_to_the_evidence(
    reader: Reader, says: Says, reply: str
) -> None:
    says(reply)
    answer = reader.ask(SURVEY, "Who led it?", max_answer_tokens=30)
    (cited,) = answer.citations
    assert answer.answer in cited.quote
    assert not answer.cut


def test_a_cut_answer_says_so_and_ends_in_a_whole_character(reader: Reader, says: Says) -> None:
    long = "The mill 🐦 stands by the river where Ada Moreau counted herons 🐦🐦 until May."
    says(long)
    n_tokens = len(reader.bundle.tokenizer.encode(long))
    for limit in range(1, n_tokens + 2):
        answer = reader.ask(SURVEY, "Where?", max_answer_tokens=limit)
        if limit > 20:
            assert answer.cut == (limit < n_tokens)
        if answer.cut:
            assert answer.answer
            assert long.startswith(answer.answer)
            assert "\ufffd" not in answer.answer


def test_a_quotation_does_not_run_from_one_document_into_the_next(reader: Reader, says: Says) -> None:
    halves = [
        Document("a.txt", "The survey of the lower river was led by"),
        Document("b.txt", "Ada Moreau of the town of Brelle."),
    ]
    for how in ("select", "whole"):
        crossing = "of the lower river was led by Ada Moreau of the town"
        says(f"It says \u201c{crossing}\u201d.")
        answer = reader.ask(halves, "Who led it?", how=how, max_answer_tokens=200)  # type: ignore[arg-type]
        assert crossing in answer.unsupported
