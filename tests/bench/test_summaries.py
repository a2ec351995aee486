import gzip
import json
from pathlib import Path

import pytest

pytest.importorskip("rouge_score", reason="the extra `bench` is not installed")

import summaries as bench

STORY = " ".join(
    f"The {word} of the town was built near the {word} bridge." for word in ("wall", "mill", "gate", "well")
)


def task(references: tuple[str, ...] = ("The wall of the town.",), lang: str = "en") -> bench.Task:
    return bench.Task("1", lang, STORY, "", references)


def test_a_reference_scores_full_marks_and_strange_words_none() -> None:
    assert set(bench.rouge(task(), "The walls of the town").values()) == {100.0}  # stemmed
    assert set(bench.rouge(task(("Größe über alles.",), "de"), "größe über alles").values()) == {100.0}
    assert set(bench.rouge(task(("Größe.",), "de"), "gr e").values()) == {0.0}  # ASCII tokens would match


@pytest.mark.parametrize("name", sorted(bench.PICKERS))
def test_every_method_gives_enough_whole_sentences_in_order(name: str) -> None:
    wanted = task(("one two three four five six seven eight nine ten eleven twelve thirteen",))
    summary = bench.extracting(bench.PICKERS[name])(wanted)
    assert len(summary.split()) >= wanted.n_words
    places = [STORY.index(sentence.strip(". ")) for sentence in summary.split(". ")]
    assert places == sorted(places)


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        {
            "id": "g",
            "question": "",
            "type": "summary",
            "answers": [{"text": "A town was built.", "start": None}],
        }
    ]
    row = {"id": "a", "lang": "en", "title": "", "text": STORY, "questions": asked}
    with gzip.open(tmp_path / "scitldr.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    out = tmp_path / "out.json"
    bench.main(["--data", str(tmp_path), "--sets", "scitldr", "--methods", "lead,graph", "--out", str(out)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads(out.read_text(encoding="utf-8"))
    assert [line["method"] for line in result["rows"]] == ["lead", "graph"]
    assert all(line["words"] == 4 for line in result["rows"])
    assert {"command", "date", "commit", "machine"} <= set(result)
