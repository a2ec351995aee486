import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def note(home: Path) -> str:
    (home / "note.txt").write_text("Heron stands in the reeds.\n", encoding="utf-8")
    return "note.txt"


def test_answers_come_in_the_order_asked(run_xgen: Callable, reader, note: str) -> None:
    ended = run_xgen("read", note, "--ask", "What stands?", "--ask", "Where?")
    assert ended.code == 0
    assert ended.out.index("Q: What stands?") < ended.out.index("Q: Where?")
    assert "\u201cHeron\u201d" in ended.out
    assert "[note.txt, line 1]" in ended.out
    assert "answers like this are right 6 times in 10" in ended.out
    assert ended.out.startswith("qwen-0.5b, read in selected passages: it measures better\n")
    assert ended.err == ""


def test_without_a_question_it_summarizes(run_xgen: Callable, reader, note: str) -> None:
    assert "Summary (all of it)" in run_xgen("read", note).out
    assert reader.calls[-1]["summarize"]
    run_xgen("read", note, "--ask", "Where?")
    assert not reader.calls[-1]["summarize"]
    run_xgen("read", note, "--ask", "Where?", "--summarize")
    assert reader.calls[-1]["summarize"]


def test_flags_reach_the_reader(run_xgen: Callable, reader, note: str) -> None:
    words = ("--ask", "Where?", "--quote", "--read", "head", "--window", "512", "--max-answer-tokens", "9")
    run_xgen("read", note, *words)
    expected = {"quote": True, "how": "head", "window": 512, "max_answer_tokens": 9}
    assert expected.items() <= reader.calls[-1].items()


def test_an_adapter_reaches_the_model(run_xgen: Callable, reader, note: str) -> None:
    run_xgen("read", note, "--adapter", "tuned")
    assert reader.loaded["adapter"] == "tuned"
    run_xgen("chat", note, "--adapter", "tuned")
    assert reader.loaded["adapter"] == "tuned"
    run_xgen("read", note)
    assert reader.loaded["adapter"] is None


def test_json_has_the_documented_keys(run_xgen: Callable, reader, note: str) -> None:
    found = json.loads(run_xgen("read", note, "--ask", "What?", "--json").out)
    assert list(found) == ["model", "how", "why", "documents", "summary", "answers", "timing"]
    assert list(found["documents"][0]) == ["path", "tokens_total", "tokens_read", "dropped"]
    answer, *_ = found["answers"]
    assert set(answer) == {
        *("question", "answer", "found", "score", "right_share", "citations"),
        *("unsupported", "evidence", "cut", "prompt_tokens", "answer_tokens", "read", "rows", "passed_over"),
    }
    keys = ["quote", "path", "page", "line", "start", "end", "verified"]
    assert list(answer["citations"][0]) == keys
    citation = answer["citations"][0]
    assert (Path(note).read_text()[citation["start"] : citation["end"]]) == citation["quote"]


@pytest.mark.parametrize("words", [("--quote",), ("--read", "whole"), ("--window", "512")])
def test_what_is_about_answers_is_refused_without_a_question(
    run_xgen: Callable, reader, note: str, words: tuple[str, ...]
) -> None:
    ended = run_xgen("read", note, *words)
    assert ended.code == 2
    assert ended.err.startswith(f"xgen: {words[0]}: it is about answers, and nothing is asked; ")
    assert reader.calls == []


def test_standard_input_is_a_document(run_xgen: Callable, reader, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("Réiher im Schilf".encode())))
    assert "\u201cRéiher\u201d" in run_xgen("read", "-", "--ask", "Was?").out


def test_a_skipped_file_of_a_folder_is_named(run_xgen: Callable, reader, note: str, home: Path) -> None:
    (home / "empty.txt").touch()
    ended = run_xgen("read", ".", "--ask", "What?")
    assert ended.code == 0
    assert "empty.txt" in ended.err


def test_a_language_that_is_not_on_the_card_is_warned_of(run_xgen: Callable, reader, home: Path) -> None:
    finnish = "Haikara seisoo kaislikossa ja odottaa kalaa. Aamulla järvi on tyyni ja sumu nousee hitaasti. "
    (home / "finnish.txt").write_text(finnish * 5, encoding="utf-8")
    ended = run_xgen("read", "finnish.txt", "--ask", "Missä?")
    assert ended.code == 0
    assert "finnish.txt seems to be in 'fi'" in ended.err
    (home / "german.txt").write_text("Der Reiher steht im Schilf und wartet auf einen Fisch. " * 5)
    assert run_xgen("read", "german.txt", "--ask", "Wo?").err == ""


@pytest.mark.parametrize("name", ["missing.txt", "empty.txt", "binary.txt", "locked"])
def test_bad_files_end_in_one_sentence(run_xgen: Callable, reader, home: Path, name: str) -> None:
    (home / "empty.txt").touch()
    (home / "binary.txt").write_bytes(bytes(range(256)) * 4)
    (home / "locked").mkdir()
    ended = run_xgen("read", name, "--ask", "What?")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith(f"xgen: {name}: ")
    assert len(ended.err.splitlines()) == 1
    assert reader.calls == []


def test_escape_sequences_of_a_document_do_not_reach_the_terminal(
    run_xgen: Callable, reader, home: Path
) -> None:
    (home / "evil.txt").write_text("\x1b[31mred\x1b[0m words and more of them\n")
    ended = run_xgen("read", "evil.txt", "--ask", "What?")
    assert "red" in ended.out + ended.err
    assert "\x1b" not in ended.out + ended.err


def test_the_help_shows_the_readers_own_default() -> None:
    from xgen.cli.read import read
    from xgen.read.reader import Reader

    ours, theirs = (inspect.signature(f).parameters["max_answer_tokens"].default for f in (read, Reader.read))
    assert ours == theirs
