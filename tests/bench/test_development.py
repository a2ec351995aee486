import json
import unicodedata
from pathlib import Path

import pytest
from development import ANSWER_CHARACTERS, IDS, PARTS, TEXT_CHARACTERS, choose, development_sets
from questions import answerable, load

SHARED = Path(__file__).parents[3] / "shared"
here = pytest.mark.skipif(not (SHARED / "instruct").is_dir(), reason="the sets are not here")


def test_the_list_has_the_parts_it_should() -> None:
    ids = json.loads(IDS.read_text(encoding="utf-8"))
    for name in {part[0] for part in PARTS}:
        assert len(ids[name]) == sum(n for set_, _, n, _ in PARTS if set_ == name)
    questions = [q for documents in ids.values() for qs in documents.values() for q in qs]
    assert all(qs for documents in ids.values() for qs in documents.values())
    assert len(questions) == sum(len(qs) for documents in ids.values() for qs in documents.values())


@here
def test_law_choosing_again_gives_the_committed_list() -> None:
    assert choose(SHARED / "instruct") == json.loads(IDS.read_text(encoding="utf-8"))


@here
def test_every_listed_question_is_found_and_fits() -> None:
    ids = json.loads(IDS.read_text(encoding="utf-8"))
    listed = {q for documents in ids.values() for qs in documents.values() for q in qs}
    sets = development_sets(SHARED / "instruct")
    found = [q for s in sets for p in s.paragraphs for q in p.questions]
    assert {q.id for q in found} == listed
    assert sum(len(s.paragraphs) for s in sets) == sum(n for _, _, n, _ in PARTS)
    assert all(len(g.text) <= ANSWER_CHARACTERS for q in found for g in q.golds)
    low, high = TEXT_CHARACTERS
    for s in sets:
        assert all(low <= len(p.text) <= high and p.lang == s.name[-2:] for p in s.paragraphs)
        assert len({p.id for p in s.paragraphs}) == len(s.paragraphs)


def _bare(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


@here
@pytest.mark.skipif(not (SHARED / "eval").is_dir(), reason="the evaluation sets are not here")
def test_no_development_document_or_question_stands_in_the_evaluation_sets() -> None:
    """Compared without case, spaces and punctuation."""
    reported = [p for s in load(SHARED / "eval") for p in s.paragraphs]
    texts = {_bare(p.text) for p in reported}
    pairs = {
        (_bare(q.text), _bare(g.text)) for p in reported for q in answerable(p).questions for g in q.golds
    }
    assert len(texts) > 5000
    for s in development_sets(SHARED / "instruct"):
        for p in s.paragraphs:
            assert _bare(p.text) not in texts, p.id
            for q in p.questions:
                assert not any((_bare(q.text), _bare(g.text)) in pairs for g in q.golds), q.id
