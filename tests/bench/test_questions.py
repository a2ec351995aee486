import gzip
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import (
    MIN_FILL,
    Case,
    Gold,
    NotEnoughText,
    Paragraph,
    Question,
    alone,
    answerable,
    hidden,
    load,
    set_name,
    take,
    taken_out,
    unanswerable,
)

from xgen.errors import BadDocument

SHARED_EVAL = Path(__file__).parents[3] / "shared" / "eval"
WORDS = [
    "elm",
    "oak",
    "fir",
    "ash",
    "yew",
    "bay",
    "fig",
    "gum",
    "haw",
    "ivy",
    "larch",
    "naïve",
    "木",
    "лес",
    "🌲",
]


def count(text: str) -> int:
    """Tokens of a made-up tokenizer: runs of word characters, and single other signs but spaces."""
    return len(re.findall(r"\w+|[^\w ]", text))


def row(article: int, number: int) -> dict[str, object]:
    """A paragraph whose one answer, a made-up name, stands nowhere else."""
    draw = random.Random(article * 1000 + number)
    words = [draw.choice(WORDS) for _ in range(draw.randint(20, 90))]
    name = f"Name{article}x{number}"
    words.insert(draw.randrange(len(words)), name)
    text = " ".join(words) + "."
    gold = {"text": name, "start": text.index(name)}
    questions = [
        {"id": f"q{article}-{number}-{i}", "question": "Who?", "type": "extractive", "answers": [gold]}
        for i in range(1 + number % 3)
    ]
    return {"id": f"{article}/{number}", "lang": "en", "title": "t", "text": text, "questions": questions}


def write(file: Path, rows: list[dict[str, object]]) -> Path:
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return file


@pytest.fixture(scope="module")
def paragraphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paragraph, ...]:
    folder = tmp_path_factory.mktemp("set")
    file = write(folder / "made.jsonl.gz", [row(a, n) for a in range(12) for n in range(6)])
    return load(file)[0].paragraphs


def assert_golds_stand(case: Case) -> None:
    for asked in case.asked:
        for gold in asked.question.golds:
            assert case.text[gold.start : gold.start + len(gold.text)] == gold.text


@settings(max_examples=25, deadline=None)
@given(
    target=st.integers(600, 2500), limit=st.integers(1, 140), per_haystack=st.integers(1, 20), data=st.data()
)
def test_law_haystacks(
    paragraphs: tuple[Paragraph, ...], target: int, limit: int, per_haystack: int, data: st.DataObject
) -> None:
    golds = take(paragraphs, limit)
    cases = hidden(paragraphs, golds, target, count, per_haystack)
    wanted = [q.id for g in golds for q in g.questions]
    assert sorted(a.question.id for c in cases for a in c.asked) == sorted(wanted)
    assert len(wanted) == min(limit, sum(len(p.questions) for p in paragraphs))
    for case in cases:
        assert_golds_stand(case)
        assert all(asked.question.golds for asked in case.asked)
        assert MIN_FILL * target <= count(case.text) <= target
        assert len({a.paragraph for a in case.asked}) <= per_haystack
        blocks = case.text.split("\n\n")
        assert len(blocks) == len(set(blocks))
        for asked in case.asked:
            place = case.text.index(next(p.text for p in paragraphs if p.id == asked.paragraph))
            assert asked.depth == place / len(case.text)
    again = hidden(paragraphs[::-1], golds, target, count, per_haystack)
    assert again == cases


def test_law_depths_spread_over_the_whole_text(paragraphs: tuple[Paragraph, ...]) -> None:
    cases = hidden(paragraphs, take(paragraphs, None), 1500, count, per_haystack=2)
    depths = [a.depth for c in cases for a in c.asked if a.depth is not None]
    share = [sum(low <= d < low + 0.25 for d in depths) / len(depths) for low in (0, 0.25, 0.5, 0.75)]
    assert min(share) > 0.12, share


def test_law_the_gold_paragraph_is_out_and_its_siblings_are_in(paragraphs: tuple[Paragraph, ...]) -> None:
    golds = take(paragraphs, 60)
    cases, n_left_out = taken_out(paragraphs, golds, 1500, count)
    texts = {p.id: p for p in paragraphs}
    asked = [a.question.id for c in cases for a in c.asked]
    assert n_left_out == 0
    assert sorted(asked) == sorted(q.id for g in golds for q in g.questions)
    for case in cases:
        assert MIN_FILL * 1500 <= count(case.text) <= 1500
        for each in case.asked:
            gold = texts[each.paragraph]
            assert each.question.golds == ()
            assert each.depth is None
            assert gold.text not in case.text
            assert gold.questions[0].golds[0].text not in case.text
            siblings = [p for p in paragraphs if p.article == gold.article and p.text in case.text]
            assert len(siblings) >= 4


def test_a_question_that_another_paragraph_may_answer_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [row(a, n) for a in range(3) for n in range(4)]
    common = {"text": "oak", "start": 0}
    rows[0]["text"] = "oak " + str(rows[0]["text"])
    rows[0]["questions"] = [{"id": "c", "question": "Which?", "type": "extractive", "answers": [common]}]
    found = load(write(tmp_path / "s.jsonl", rows))[0].paragraphs
    cases, n_left_out = taken_out(found, [p for p in found if p.id == "0/0"], 300, count)
    assert (cases, n_left_out) == ([], 1)


def test_long_paragraphs_fill_up_with_their_first_sentences() -> None:
    pool = [
        Paragraph(str(n), "en", str(n), " ".join(f"S{n}x{i} is here." for i in range(30)), ())
        for n in range(6)
    ]
    asked = Question("q", "Where?", (Gold("S0x7", pool[0].text.index("S0x7")),))
    (case,) = hidden(pool, [replace(pool[0], questions=(asked,))], 300, count)
    assert_golds_stand(case)
    assert MIN_FILL * 300 <= count(case.text) <= 300
    blocks = case.text.split("\n\n")
    assert sum(block in {p.text for p in pool} for block in blocks) == 2
    assert sum(any(p.text.startswith(block + " ") for p in pool) for block in blocks) == len(blocks) - 2 == 1
    assert all(block.endswith("here.") for block in blocks)


def test_too_little_text_is_said(paragraphs: tuple[Paragraph, ...]) -> None:
    with pytest.raises(NotEnoughText, match="of 9000 tokens"):
        hidden(paragraphs, paragraphs[:1], 9000, count)
    with pytest.raises(NotEnoughText, match="more than 5 tokens"):
        hidden(paragraphs, paragraphs[:1], 5, count)


def test_alone_asks_each_paragraph_its_own_questions(paragraphs: tuple[Paragraph, ...]) -> None:
    cases = alone(paragraphs)
    assert [c.text for c in cases] == [p.text for p in paragraphs]
    for case in cases:
        assert_golds_stand(case)


def test_questions_without_answers_are_kept_apart(tmp_path: Path) -> None:
    made = row(0, 0)
    none = {"id": "u", "question": "Why?", "type": "unanswerable", "answers": []}
    free = {"id": "f", "question": "How?", "type": "free", "answers": [{"text": "so", "start": None}]}
    made["questions"] = [*made["questions"], none, free]  # type: ignore[misc]
    (paragraph,) = load(write(tmp_path / "s.jsonl", [made]))[0].paragraphs
    assert [q.id for q in answerable(paragraph).questions] == ["q0-0-0"]
    assert [q.id for q in unanswerable(paragraph).questions] == ["u"]


def test_a_folder_gives_its_sets_and_skips_files_without_documents(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl.gz", [row(0, 0)])
    write(tmp_path / "a.jsonl", [row(1, 0), row(1, 1)])
    write(tmp_path / "c.jsonl", [{"question": "2+2", "answer": "4"}])
    assert [(s.name, len(s.paragraphs)) for s in load(tmp_path)] == [("a", 2), ("b", 1)]
    assert set_name(Path("x/xquad.en.jsonl.gz")) == "xquad.en"


BROKEN = [
    '{"id": "0/0", "lang": "en"',
    '{"id": "0/0", "lang": "en", "text": "ab", "questions": [{"id": "q", "question": "?", '
    '"type": "extractive", "answers": [{"text": "b", "start": 0}]}]}',
    '{"id": "0/0", "lang": "en", "text": "ab", "questions": [{"id": "q", "question": "?", '
    '"type": "extractive", "answers": []}]}',
    '{"id": "0/0", "text": "ab", "questions": []}',
    '{"id": 0, "lang": "en", "text": "ab", "questions": []}',
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    file = write(tmp_path / "s.jsonl", [row(0, 0)])
    file.write_text(file.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(BadDocument, match=r"s\.jsonl line 2: "):
        load(file)


def test_a_file_that_is_no_gzip_and_a_missing_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl.gz").write_bytes(b"plain")
    with pytest.raises(BadDocument, match=r"s\.jsonl\.gz"):
        load(tmp_path)
    whole = gzip.compress(json.dumps(row(0, 0)).encode(), mtime=0)
    for damaged in (whole[:40], whole[:20] + bytes(byte ^ 0x5A for byte in whole[20:])):
        (tmp_path / "s.jsonl.gz").write_bytes(damaged)
        with pytest.raises(BadDocument, match=r"s\.jsonl\.gz: it cannot be read to its end"):
            load(tmp_path)
    with pytest.raises(BadDocument, match="no such file"):
        load(tmp_path / "none")


@pytest.mark.skipif(not SHARED_EVAL.is_dir(), reason="the evaluation sets are not here")
def test_against_the_counts_that_the_evaluation_sets_state() -> None:
    counts = {
        s.name: (len(s.paragraphs), sum(len(answerable(p).questions) for p in s.paragraphs))
        for name in ("xquad.en", "xquad.zh", "jaquad", "squad_it")
        for s in load(SHARED_EVAL / f"{name}.jsonl.gz")
    }
    assert counts == {
        "xquad.en": (192, 926),
        "xquad.zh": (192, 925),
        "jaquad": (1224, 3376),
        "squad_it": (1705, 6507),
    }
