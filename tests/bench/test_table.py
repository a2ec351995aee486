import gzip
import json
from argparse import Namespace
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import failures
import pytest
import questions as qs
import reading
import table
import table_shown

import xgen
from xgen.read.answer import Answer
from xgen.text.document import Document

N_PARAGRAPHS = 6


class Knower:
    """Answers "Who is N?" with "N lives", where that stands in the document; "nobody" elsewhere."""

    bundle = SimpleNamespace(tokenizer=SimpleNamespace(encode=str.split))

    def read(self, documents: Sequence[Document], questions: Sequence[str], **how: object) -> SimpleNamespace:
        text = documents[0].text
        names = [question[7:-1] for question in questions]
        given = [Answer(q, n if n in text else None) for q, n in zip(questions, names, strict=True)]
        return SimpleNamespace(answers=tuple(given))


@pytest.fixture
def options(tmp_path: Path) -> Namespace:
    lines = []
    for n in range(N_PARAGRAPHS):
        text = f"Here lives Name{n}. And here stands a house."
        gold = [{"text": f"Name{n}", "start": 11}]
        asked = [
            {"id": f"{n}-{i}", "question": f"Who is Name{n}?", "type": "extractive", "answers": gold}
            for i in range(n + 1)
        ]
        lines.append({"id": f"article/{n}", "lang": "en", "title": "", "text": text, "questions": asked})
    data = "\n".join(map(json.dumps, lines)).encode()
    (tmp_path / "xquad.en.jsonl.gz").write_bytes(gzip.compress(data))
    wanted = ["alone", "another paragraph", "licence tables"]
    return Namespace(data=tmp_path, dev=tmp_path, made=None, limit=None, share=None, lines=wanted)


def given(options: Namespace) -> list[dict[str, object]]:
    out = StringIO()
    table.ask(options, Knower(), out)  # type: ignore[arg-type]
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_question_is_asked_once_and_measured(options: Namespace, tmp_path: Path) -> None:
    found = given(options)
    assert len([one for one in found if one["line"] == "alone"]) == 21
    rows = {row["line"]: row for row in table_shown.table(found)}
    assert rows["alone"]["F1"] == rows["alone"]["EM"] == [100, 100, 100]
    assert rows["alone"]["refused"][0] == 0
    assert rows["another paragraph"]["refused"] == [100, 100, 100]  # a name never stands in the next one
    assert rows["licence tables"]["n"] == 20
    assert rows["licence tables"]["all right"][0] == 0
    out = tmp_path / "a.jsonl"
    out.write_text("\n".join(map(json.dumps, found)))
    table_shown.shown([out, out], [], tmp_path / "table.json")  # an answer that is there twice counts once
    shown = json.loads((tmp_path / "table.json").read_text())
    assert shown["rows"] == list(rows.values())
    aims = {aim["aim"]: aim["is"] for aim in shown["aims"]}
    assert (aims["alone, free, F1"], aims["needles, worst cell, %"]) == (100, None)


def test_processes_divide_the_work_and_leave_nothing_out(options: Namespace, tmp_path: Path) -> None:
    alone = given(options)
    options.share = tmp_path / "share"
    options.share.mkdir()
    for number in range(0, 9, 2):  # somebody else's
        (options.share / f"alone.{number}").touch()
    mine = given(options)
    assert [one for one in mine if one["line"] != "alone"] == [one for one in alone if one["line"] != "alone"]
    assert 0 < len([one for one in mine if one["line"] == "alone"]) < 21
    assert given(options) == []


def test_a_second_start_keeps_the_answers_of_the_first(
    options: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xgen, "load", lambda *_, **__: Knower())
    words = [
        "--all",
        "--data",
        str(tmp_path),
        "--model",
        "m",
        "--lines",
        "alone",
        "--out",
        str(tmp_path / "a.json"),
    ]
    for share, n in (([], 21), ([], 21), (["--share", str(tmp_path / "share")], 42)):
        for _ in range(2):
            reading.main([*words, *share])
            assert len((tmp_path / "a.answers.jsonl").read_text().splitlines()) == n


def test_half_a_line_is_said_and_a_line_separator_ends_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {"line": "alone", "set": "s", "id": "1", "answer": "a\u2028b"}
    (tmp_path / "a").write_text(json.dumps(whole, ensure_ascii=False) + '\n{"line": "al')
    assert table_shown.read([tmp_path / "a"]) == [whole]
    assert "line 2: not whole" in capsys.readouterr().err


def test_a_set_that_is_too_small_is_said_and_the_rest_goes_on(options: Namespace) -> None:
    options.lines = ["8K", "alone"]
    found = given(options)
    assert [one["line"] for one in found if "note" in one] == ["8K"]
    assert len(found) == 22


def test_failures_are_the_wrong_ones(options: Namespace) -> None:
    found = given(options)
    assert failures.wrong(found, "alone", 50) == ([], 0, 21)
    for one in found[:3]:
        one["answer"] = "house"
    drawn, n_wrong, n_asked = failures.wrong(found, "alone", 2)
    assert (len(drawn), n_wrong, n_asked) == (2, 3, 21)
    assert all(one["answer"] == "house" for one in drawn)
    assert failures.around("a b c", "b") == "a b c"


def test_a_paragraph_stands_beside_the_next_of_its_article() -> None:
    asked = (qs.Question("q", "?", (qs.Gold("x", 0),)), qs.Question("r", "?", (qs.Gold("y", 1),)))
    pool = [qs.Paragraph(f"{n}", "en", "a", text, asked[:n]) for n, text in ((2, "xy"), (0, "ab y"))]
    (case,) = qs.beside(pool)
    assert (case.text, [a.question.id for a in case.asked]) == ("ab y", ["q"])
    assert case.asked[0].question.golds == ()
