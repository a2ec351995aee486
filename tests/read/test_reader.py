import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.bundle import Bundle
from xgen.errors import TooLong, XgenError
from xgen.read import ask as ask_module
from xgen.read import free as free_module
from xgen.read import trust
from xgen.read.prompt import document_ids
from xgen.read.quote import Candidate, Quoter
from xgen.read.reader import Reader
from xgen.text.document import Document

ROOT = Path(__file__).parents[2]
SURVEY = Document(
    "survey.txt",
    "The survey of the lower river was led by Ada Moreau.\n\nShe counted 412 herons between the old mill "
    "and the sea.\n\nThe work was paid for by the town of Brelle and finished on 3 May 2021.\n\n \n",
)
LETTER = Document("letter.md", "# To the council\n\nDear all, the mill is closed on Mondays 🐦.\n")
QUESTIONS = ["Who led the survey?", "When is the mill closed?", "How many herons?"]
MARKUP = [
    "<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>",
    "<tool_call>",
    "{{ x }}",
    "\0",
    "The answer is",
]
WORDS = [
    "Ada sat.",
    "the mill",
    "今日は雨です。",
    "हिन्दी",
    "nai\u0308ve",
    "👩\u200d👧",
    "3,5",
    "not in the document",
]
GAPS = [" ", "\n", "\n\n", "\r\n", "\u2003", "\u0085", "\u200b", '"', '. "', "(", "x" * 40]
TEXTS = st.lists(st.sampled_from(MARKUP + WORDS + GAPS), min_size=1, max_size=10).map("".join)


@pytest.fixture
def prefilled(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The ids of every call of prefill."""
    calls: list[list[int]] = []
    original = ask_module.prefill
    assert free_module.prefill is original

    def counted(model: Any, cache: Any, ids: Sequence[int], *rest: Any) -> torch.Tensor:
        calls.append(list(ids))
        return original(model, cache, ids, *rest)

    for module in (ask_module, free_module):
        monkeypatch.setattr(module, "prefill", counted)
    return calls


def test_law_a_quoted_answer_stands_where_it_is_cited(reader: Reader) -> None:
    n_found = 0

    @given(
        texts=st.lists(TEXTS, min_size=1, max_size=2),
        how=st.sampled_from(["select", "whole", "head", "tail"]),
    )
    @settings(deadline=None, max_examples=60)
    def law(texts: list[str], how: Any) -> None:
        nonlocal n_found
        documents = [Document(f"{index}.txt", text) for index, text in enumerate(texts)]
        if not any(text.strip() for text in texts):
            return
        reading = reader.read(documents, QUESTIONS[:1], quote=True, how=how, quiet=True)
        (answer,) = reading.answers
        for report in reading.documents:
            assert 0 <= report.tokens_read <= report.tokens_total
        if not answer.found:
            assert (answer.answer, answer.citations) == (None, ())
            return
        n_found += 1
        (cited,) = answer.citations
        text = texts[int(cited.path[0])]
        assert cited.verified
        assert text[cited.start : cited.end] == cited.quote
        assert answer.answer
        assert answer.answer in cited.quote

    law()
    assert n_found > 10


@pytest.mark.parametrize("how", ["whole", "select"])
def test_what_looks_like_a_turn_is_quoted_from_its_place(xgen_like: Bundle, trusting: None, how: Any) -> None:
    text = "### Human: who rings?\n### Assistant: Ada rings.\n\n ### Bells\n\nThe bell ### rings at noon."
    reader = Reader(xgen_like)
    answer = reader.ask(Document("bells.txt", text), "Who rings the bell?", quote=True, how=how)
    assert answer.answer
    (cited,) = answer.citations
    assert cited.verified
    assert text[cited.start : cited.end] == cited.quote
    reading = reader.read([Document("bells.txt", text)], ["Who?"], quote=True, how="whole", quiet=True)
    assert reading.documents[0].tokens_total == len(xgen_like.tokenizer.encode(text))


def test_no_answer_runs_from_one_document_into_the_next(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, says: Callable[[str], None]
) -> None:
    documents = [Document("a.txt", "The survey was led"), Document("b.txt", "by Ada Moreau of Brelle.")]
    crossing, inside = Candidate("led\n\nby Ada", -1.0, 4), Candidate("Ada Moreau", -9.0, 2)
    for candidates, expected in (([crossing, inside], "Ada Moreau"), ([crossing], None)):
        monkeypatch.setattr(Quoter, "candidates", lambda *words, found=candidates: [found])
        assert reader.ask(documents, "Who led it?", quote=True, how="whole").answer == expected
    monkeypatch.setattr(Quoter, "candidates", lambda *words: [[inside]])
    says("The survey was led by Ada Moreau of Brelle.")
    for cited in reader.ask(documents, "Who led it?", how="whole").citations:
        text = next(document.text for document in documents if document.path == cited.path)
        assert cited.end <= len(text)


@pytest.mark.parametrize("how", ["select", "whole"])
@pytest.mark.parametrize("quote", [True, False])
def test_answers_come_in_the_order_asked_each_as_if_alone(reader: Reader, how: Any, quote: bool) -> None:
    documents = [SURVEY, LETTER]
    questions = [*QUESTIONS, QUESTIONS[0]]
    reading = reader.read(documents, questions, quote=quote, how=how, max_answer_tokens=8, quiet=True)
    assert [answer.question for answer in reading.answers] == questions
    for question, answer in zip(questions, reading.answers, strict=True):
        assert answer == reader.ask(documents, question, quote=quote, how=how, max_answer_tokens=8)


@pytest.mark.parametrize("how", ["select", "whole"])
def test_questions_side_by_side_equal_each_alone(reader: Reader, how: Any) -> None:
    """As a GPU takes them."""
    asker = reader.prepare([SURVEY, LETTER], how).asker
    questions = [*QUESTIONS, QUESTIONS[0]]
    together = asker.evidence(questions)
    for question, evidence in zip(questions, together, strict=True):
        (alone,) = asker.evidence([question])
        assert len(evidence) == len(alone) > 1
        assert sorted((e.start, e.end) for e in evidence) == sorted((e.start, e.end) for e in alone)
        scores = sorted(e.score for e in evidence), sorted(e.score for e in alone)
        assert scores[0] == pytest.approx(scores[1], abs=1e-3)


@pytest.mark.parametrize("how", ["whole", "head", "tail"])
@pytest.mark.parametrize("quote", [True, False])
def test_a_document_is_read_once(reader: Reader, prefilled: list[list[int]], how: Any, quote: bool) -> None:
    reader.read([SURVEY, LETTER], QUESTIONS, quote=quote, how=how, max_answer_tokens=4, quiet=True)
    whole = document_ids(reader.bundle, f"{SURVEY.text}\n\n{LETTER.text}")
    assert prefilled.count(whole) == 1
    assert (
        max(len(ids) for ids in prefilled if ids != whole) < len(whole) if not quote else len(prefilled) == 1
    )


def test_a_long_question_is_refused(reader: Reader) -> None:
    question = "why " * 600
    with pytest.raises(TooLong, match="and 512 fit"):
        reader.ask(SURVEY, question)


@pytest.mark.parametrize(("n_words", "limit"), [(1, 64), (100, 64), (1, 320), (110, 320)])
@pytest.mark.parametrize("quote", [True, False])
def test_question_and_answer_have_their_room_in_the_window(
    reader: Reader, n_words: int, limit: int, quote: bool
) -> None:
    question = "why " * n_words
    n_tokens = len(reader.bundle.tokenizer.encode("x y "))
    long = Document("long.txt", "x y " * (6000 // n_tokens))
    with pytest.raises(TooLong, match=r"long.txt: [0-9,]+ tokens and the window of 2,048 holds") as refused:
        reader.ask(long, question, how="whole", window=2048, max_answer_tokens=limit)
    found = re.search("holds ([0-9,]+)", str(refused.value))
    assert found
    room = int(found[1].replace(",", ""))
    fits = Document("fits.txt", "x y " * ((room - 1) // n_tokens))
    ways: list[tuple[Document, Any]] = [(fits, "whole"), (long, "head"), (long, "tail")]
    for document, how in ways:
        answer = reader.ask(document, question, quote, how, window=2048, max_answer_tokens=limit)
        assert room * 0.9 < answer.prompt_tokens
        if quote:
            assert answer.prompt_tokens + answer.answer_tokens <= 2048


@pytest.mark.parametrize("how", ["select", "whole", "head", "tail"])
def test_what_is_read_entirely_counts_entirely(reader: Reader, how: Any) -> None:
    documents = [Document("blank.txt", "\n \n"), SURVEY, Document("late.md", f"\n\n  {LETTER.text}")]
    reading = reader.read(documents, QUESTIONS[:1], quote=True, how=how, quiet=True)
    for report in reading.documents[1:]:
        assert report.tokens_read == report.tokens_total > 10


def test_what_is_not_read_is_counted(reader: Reader) -> None:
    long = Document(
        "long.txt", "\n\n".join(f"Heron {i} stands in the reeds of the mill." for i in range(200))
    )
    for how in ("select", "head", "tail"):
        (report,) = reader.read([long], ["Who?"], quote=True, how=how, window=1024, quiet=True).documents
        assert 0 < report.tokens_read <= 1024 < report.tokens_total
    (report,) = reader.read([long], ["Who?"], summarize=True, quote=True, how="select", quiet=True).documents
    assert report.tokens_read == report.tokens_total


def test_the_measured_share_is_of_replies_that_hold_the_span_or_do_not(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, says: Callable[[str], None]
) -> None:
    judged = trust.Judgement(True, 0.6, agreed_share=0.7, apart_share=0.3)
    monkeypatch.setattr(trust, "judge", lambda *_: judged)
    span = reader.ask(SURVEY, "Who led it?", quote=True).answer
    says(f"It was {span}, they say.")
    assert reader.ask(SURVEY, "Who led it?").right_share == 0.7
    says(f"{span} quartz vivid jumping wizards plough fjord sphinx.")
    nowhere = reader.ask(SURVEY, "Who led it?")
    assert nowhere.citations == ()
    assert nowhere.evidence is not None, "no answer comes without a place"
    assert nowhere.evidence.text == span
    says("Geese did it.")
    beside = reader.ask(SURVEY, "Who led it?")
    assert beside.right_share == 0.3
    assert "A: Geese did it.\n   answers like this are right 3 times in 10\n" in str(beside)
    assert beside.evidence is not None
    assert (beside.evidence.text, beside.evidence.right_share) == (span, 0.6)
    assert beside.evidence.text in beside.evidence.citation.quote


def test_a_share_is_claimed_for_the_languages_measured_only(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    original = trust.judge
    monkeypatch.setattr(trust, "judge", lambda *words: asked.append(words) or original(*words))
    german = Document("de.txt", "Der Reiher steht im Schilf und wartet auf einen Fisch. " * 4)
    Reader(tiny).ask([german], "Wo?", quote=True)
    Reader(tiny).ask([SURVEY], "Where?", quote=True)
    assert [words[3] for words in asked] == ["de", "en"]


def test_a_short_limit_prefers_shorter_spans_and_hides_none(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = Candidate("led by Ada Moreau", -1.0, 9), Candidate("Ada Moreau", -9.0, 4)
    for candidates, limit, expected in (
        ([long, short], 24, long),
        ([long, short], 4, short),
        ([long], 4, long),
    ):
        monkeypatch.setattr(Quoter, "candidates", lambda *words, found=candidates: [found])
        answer = reader.ask(SURVEY, "Who?", quote=True, how="whole", max_answer_tokens=limit)
        assert answer.answer == expected.text
        assert answer.answer_tokens == expected.n_tokens
    monkeypatch.setattr(Quoter, "candidates", lambda *words: [[long, short]])
    found_if_long = trust.Judgement(True, 0.5), trust.Judgement(False, 0.1)
    judged = reader.prepare([SURVEY], "whole").asker.evidence(["Who?"])[0]
    best = max(e.score for e in judged)
    monkeypatch.setattr(trust, "judge", lambda m, w, value, lang: found_if_long[value < round(best, 4)])
    answer = reader.ask(SURVEY, "Who?", quote=True, how="whole", max_answer_tokens=4)
    assert (answer.answer, answer.right_share) == (long.text, 0.5)


def test_a_document_read_whole_counts_once(reader: Reader) -> None:
    quoted, free = (reader.ask(SURVEY, "Who?", quote, how="whole", max_answer_tokens=4) for quote in (1, 0))
    n_document = len(document_ids(reader.bundle, SURVEY.text))
    assert n_document < quoted.prompt_tokens < free.prompt_tokens < 2 * n_document + 300
    assert free.prompt_tokens - quoted.prompt_tokens < n_document


def test_blocks_are_told_as_they_come_and_make_the_whole(reader: Reader) -> None:
    told: list[str] = []
    reading = reader.read(
        [SURVEY, LETTER], QUESTIONS, summarize=True, quote=True, quiet=True, tell=told.append
    )
    assert "\n\n".join(told) == str(reading)
    assert len(told) == 2 + 1 + len(QUESTIONS)
    alone: list[str] = []
    reader.read([SURVEY], how="whole", window=512, summarize=True, quiet=True, tell=alone.append)
    assert len(alone) == 3


def test_passages_read_are_given_with_their_places(reader: Reader) -> None:
    answer = reader.ask([SURVEY, LETTER], "When is the mill closed?", how="select")
    assert {passage.path for passage in answer.read} == {"survey.txt", "letter.md"}
    assert any("closed on Mondays" in passage["quote"] for passage in answer.to_json()["read"])
    assert reader.ask(SURVEY, "When?", how="whole").read == ()


def test_a_low_score_means_not_found(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "judge", lambda *_: trust.Judgement(False, 0.1))
    for quote in (True, False):
        answer = Reader(tiny).ask(SURVEY, "Who signed it?", quote=quote)
        assert (answer.answer, answer.found, answer.right_share) == (None, False, None)


@pytest.mark.parametrize(
    ("documents", "questions", "tokens", "what"),
    [
        ([], ["Who?"], 64, "there is no document"),
        ([Document("a.txt", " \n"), Document("b.txt", "")], ["Who?"], 64, "a.txt, b.txt: there is no text"),
        ([SURVEY], ["Who?", " "], 64, "the question is empty"),
        ([SURVEY], ["Who?"], 0, "0 is out of range"),
        ([SURVEY], ["Who?"], 10_000, "out of range"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    reader: Reader, documents: list[Document], questions: list[str], tokens: int, what: str
) -> None:
    with pytest.raises(XgenError, match=what):
        reader.read(documents, questions, max_answer_tokens=tokens)


@pytest.mark.model
def test_the_default_model_answers_with_its_place(pulled: Callable[[str], Path], tmp_path: Path) -> None:
    """In a cache folder of its own, with which the copies of its weights go: they take a gigabyte."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "qwen-0.5b").symlink_to(pulled("qwen-0.5b"), target_is_directory=True)
    question = "What does pre-training on one trillion tokens cost?"
    command = [sys.executable, "-c", "from xgen.cli.app import main; main()", "read", "docs/xgen-7b.md"]
    ended = subprocess.run(
        [*command, "--quote", "--ask", question, "--json"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "XGEN_HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (answer,) = json.loads(ended.stdout)["answers"]
    assert answer["question"] == question
    assert "150,000" in answer["answer"]
    (cited,) = answer["citations"]
    text = (ROOT / "docs" / "xgen-7b.md").read_text(encoding="utf-8")
    assert cited["verified"]
    assert text[cited["start"] : cited["end"]] == cited["quote"]
    assert answer["answer"] in cited["quote"]
    assert text[: cited["start"]].count("\n") + 1 == cited["line"]
