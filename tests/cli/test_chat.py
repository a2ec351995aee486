import io
from collections.abc import Callable
from pathlib import Path

import pytest

from xgen.engine.sample import Sampling


@pytest.fixture
def say(run_xgen: Callable, reader, monkeypatch: pytest.MonkeyPatch) -> Callable:
    def say(lines: str, *words: str):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return run_xgen("chat", *words)

    return say


def test_each_line_of_a_pipe_is_a_turn(say: Callable) -> None:
    ended = say("one\n\ntwo\n", "--system", "Be brief.")
    assert ended == (0, "Be brief. [] ['one']\nBe brief. [] ['one', 'two']\n", "")


def test_reset_forgets_and_quit_ends(say: Callable) -> None:
    assert say("one\n/reset\ntwo\n/quit\nthree\n").out.splitlines() == ["None [] ['one']", "None [] ['two']"]


def test_documents_come_with_the_command_or_by_file(say: Callable, home: Path) -> None:
    for name in ("a.txt", "b c.txt"):
        (home / name).write_text("Heron stands in the reeds.")
    ended = say("one\n/file b c.txt\ntwo\n", "a.txt")
    assert ended.out.splitlines()[0] == "None ['a.txt'] ['one']"
    assert ended.out.splitlines()[1] == "None ['a.txt', 'b c.txt'] ['one', 'two']"
    assert "b c.txt" in ended.err


@pytest.mark.parametrize("line", ["/file", "/file missing.txt", "/fly"])
def test_a_bad_command_in_a_pipe_ends_in_one_sentence(say: Callable, line: str) -> None:
    ended = say(f"{line}\none\n")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("xgen: ")
    assert len(ended.err.splitlines()) == 1


def test_a_bad_command_at_a_terminal_ends_nothing(
    run_xgen: Callable, reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO("/file missing.txt\none\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    ended = run_xgen("chat")
    assert ended.code == 0
    assert "missing.txt" in ended.err
    assert "['one']" in ended.out


def test_the_ways_to_sample_reach_the_conversation(say: Callable, reader) -> None:
    say("one\n")
    words = "--temperature 0.7 --top-k 100 --top-p 0.9 --min-p 0.05 --repetition-penalty 1.2 --seed 3"
    say("one\n", *words.split(), "--stop", "###", "--stop", "\n\n")
    plain, told = reader.calls
    assert plain == {"sampling": Sampling(), "stops": ()}
    assert told == {"sampling": Sampling(0.7, 100, 0.9, 0.05, 1.2, 3), "stops": ["###", "\n\n"]}


@pytest.mark.parametrize(
    "words",
    [
        *(("--temperature", t) for t in ("-1", "nan", "1e-40", "inf")),
        *(("--seed", "9" * 20), ("--top-k", "-1"), ("--top-p", "0"), ("--min-p", "1"), ("--stop", "")),
        ("--repetition-penalty", "0"),
    ],
)
def test_a_draw_that_cannot_be_made_is_refused(say: Callable, words: tuple[str, str]) -> None:
    ended = say("one\n", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"xgen: {words[0]}: ")
