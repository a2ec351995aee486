import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import reading
import rows as rows_
import torch

import xgen
from xgen.errors import TooLong
from xgen.read.answer import Answer
from xgen.text.document import Document

N_ARTICLES, N_PARAGRAPHS = 10, 5


class OracleReader:
    """Knows the answers: a question "Q <name>?" is answered by <name> where that stands in the document.

    As `whole` it adds a word of its own, and it refuses documents of more than `most` words.
    """

    def __init__(self, most: int = 10**6) -> None:
        self.bundle = SimpleNamespace(
            tokenizer=SimpleNamespace(encode=lambda text: text.split()),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
        self.most = most
        self.asked: list[tuple[str, int, int, bool]] = []

    def read(
        self,
        documents: Sequence[Document],
        questions: Sequence[str],
        how: str,
        quote: bool,
        max_answer_tokens: int,
        quiet: bool,
        window: int | None,
    ) -> SimpleNamespace:
        [document] = documents
        self.asked.append((how, len(questions), max_answer_tokens, quote))
        if how == "whole" and len(document.text.split()) > self.most:
            raise TooLong("bench", "too many words", "read less")
        return SimpleNamespace(answers=tuple(self._answer(document, q, how) for q in questions))

    def _answer(self, document: Document, question: str, how: str) -> Answer:
        name = question[2:-1]
        found = name in document.text or "number" in question or "model" in question
        if "number" in question:
            name = document.text.split(f"secret number of {question.rsplit(maxsplit=1)[-1][:-1]} is ")[
                1
            ].split(".")[0]
        answer = name if how == "select" else f"{name} indeed"
        return Answer(question, answer if found else None, 0.5, prompt_tokens=9, answer_tokens=2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = []
    for a in range(N_ARTICLES):
        for n in range(N_PARAGRAPHS):
            draw = random.Random(10 * a + n)
            words = [draw.choice(["oak", "elm", "fir", "yew", "ash."]) for _ in range(60)]
            words[draw.randrange(60)] = name = f"Name{a}x{n}"
            text = " ".join(words)
            gold = {"text": name, "start": text.index(name)}
            asked = [{"id": f"{a}-{n}", "question": f"Q {name}?", "type": "extractive", "answers": [gold]}]
            lines.append({"id": f"{a}/{n}", "lang": "en", "title": "", "text": text, "questions": asked})
    lines[0]["questions"].append({"id": "no", "question": "Q Nobody?", "type": "unanswerable", "answers": []})  # type: ignore[attr-defined]
    file = tmp_path / "made.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return file


def bench(
    monkeypatch: pytest.MonkeyPatch, reader: OracleReader, out: Path, *arguments: str
) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    monkeypatch.setattr(xgen, "load", lambda *_, **__: reader)
    reading.main([*arguments, "--out", str(out)])
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    return {(r["row"], r["method"]): r["measures"] for r in rows}


def test_an_oracle_scores_as_it_must(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, out = OracleReader(), tmp_path / "r.json"
    rows = bench(monkeypatch, reader, out, "--data", str(data), "--rows", "alone,hidden2k,unanswerable")
    for row in ("alone", "hidden2k"):
        assert rows[row, "select --quote"]["f1"] == {"mean": 1, "low": 1, "high": 1}
        assert rows[row, "whole"]["f1"]["mean"] == pytest.approx(2 / 3)
        assert rows[row, "whole"]["holds"]["mean"] == 1
        assert rows[row, "whole"]["exact"]["mean"] == 0
        assert rows[row, "bm25"]["holds"]["mean"] == 1
    assert rows["unanswerable", "whole"]["refused"]["mean"] == 1
    assert rows["unanswerable as written", "select --quote"]["refused"]["mean"] == 1
    assert ("unanswerable", "bm25") not in rows
    result = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert {"command", "date", "commit", "machine", "model", "rows", "notes", "verdicts"} <= set(result)
    assert [r["n_questions"] for r in result["rows"] if r["row"] == "hidden2k"] == [50, 50, 50]
    # one reading of each text for each way, not one of each question
    assert sum(n for how, n, _, quote in reader.asked if how == "whole" and not quote) == 50 + 50 + 50 + 1
    texts = {r["row"]: r["n_texts"] for r in result["rows"]}
    assert len(reader.asked) == 2 * sum(texts.values())
    assert texts["hidden2k"] == 4


def test_every_answer_is_written_down(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    limits = ["--limit", "7", "--rows", "hidden2k", "--read", "select", "--quote"]
    bench(monkeypatch, OracleReader(), out, "--data", str(data), *limits)
    lines = [json.loads(x) for x in (tmp_path / "r.answers.jsonl").read_text(encoding="utf-8").splitlines()]
    by_reader = [line for line in lines if line["method"] == "select --quote"]
    assert len(by_reader) == len({line["id"] for line in by_reader}) == 7
    for line in by_reader:
        assert line["gold"] == [line["answer"]]
        assert (line["found"], line["score"], line["f1"]) == (True, 0.5, 1.0)


def test_needles_and_licences(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> None:
    reader, out = OracleReader(), tmp_path / "r.json"
    rows = bench(monkeypatch, reader, out, "--data", str(data), "--rows", "needle,licences")
    result = json.loads(out.read_text(encoding="utf-8"))
    assert rows["needle2k", "select --quote"]["hit"]["mean"] == 1
    grid = next(r for r in result["rows"] if r["method"] == "whole" and r["row"] == "needle2k")["by_depth"]
    assert grid == {str(depth): [1.0, 8] for depth in (0.0, 0.25, 0.5, 0.75, 1.0)}
    assert rows["licences", "whole"]["set_f1"]["mean"] == 0
    assert reader.asked[-1][2] == rows_.LIST_TOKENS
    assert [n for n in result["notes"] if "needle4k is left out" in n]  # 50 paragraphs do not make 4K


def test_what_cannot_be_run_is_said(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    reader = OracleReader(most=1000)
    rows = bench(monkeypatch, reader, out, "--data", str(data), "--rows", "alone,hidden2k,hidden8k")
    assert {row for row, _ in rows} == {"alone", "hidden2k"}
    assert ("hidden2k", "whole") not in rows
    notes = json.loads(out.read_text(encoding="utf-8"))["notes"]
    assert any("made hidden8k is left out" in note for note in notes)
    assert any("made hidden2k by whole is left out: bench: too many words" in note for note in notes)


def result_of(method: str, mean: float) -> dict[str, object]:
    return {"set": "s", "row": "r", "method": method, "main": "f1", "measures": {"f1": {"mean": mean}}}


def test_the_verdict_names_a_better_way() -> None:
    losing = [result_of("bm25", 0.2), result_of("whole", 0.5), result_of("select --quote", 0.4)]
    assert reading.verdicts(losing) == [
        "s r: `select --quote` is not the best, `whole` is (50.0 against 40.0)."
    ]
    assert reading.verdicts([*losing[:2], result_of("select --quote", 0.5)]) == []


@pytest.mark.parametrize("arguments", [["--rows", "alone,nosuch"], ["--quote"]])
def test_a_wrong_flag_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        reading.parse(arguments)


def test_the_bench_needs_no_command_line_library() -> None:
    """It runs on GPU machines that have torch and little else."""
    code = (
        "import sys; sys.modules.update(typer=None, pydantic=None, transformers=None); "
        f"sys.path.insert(0, {str(Path(reading.__file__).parent)!r}); import reading; reading.parse([])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
