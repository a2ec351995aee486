import json
from pathlib import Path

import beside
import pytest
import rows

from xgen.read.answer import Answer, Citation, Span

TEXT = "Tern wrote it in 1901. Wren read it."


def one(answer: str, span: str, share: float | None = 0.7) -> Answer:
    citation = Citation(span, "a.txt", None, 1, 0, len(span), True)
    return Answer("Who?", answer, evidence=Span(span, share, citation))


def test_what_is_written_of_an_answer_is_counted_by_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [
        one("Wren", "Tern"),  # the span is right, and the answer stands in the text
        one("Terna", "Tern"),  # it stands nowhere
        one("Tern", "Wren", 0.2),
        Answer("Who?", "Tern"),
        one("It was Tern", "Tern"),  # they say the same, though no place bears it out
    ]
    path = tmp_path / "a.answers.jsonl"
    lines = [vars(rows.given(TEXT, answer)) | {"gold": ["Tern"]} for answer in answers]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    beside.main([str(path)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = {row["kind"]: row for row in result["rows"]}
    assert result["questions"] == 5
    assert found["all"] == {
        "kind": "all",
        "n": 3,
        "answer_f1": pytest.approx(1 / 3),
        "span_f1": pytest.approx(2 / 3),
        "answer_alone_right": 1,
        "span_alone_right": 2,
    }
    kinds = [
        "stands in the text",
        "stands nowhere",
        "of these, stands in the text",
        "of these, stands nowhere",
    ]
    assert [found[kind]["n"] for kind in kinds] == [2, 1, 1, 1]
