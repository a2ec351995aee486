import io
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.cli.printing import harmless, print_text

LINES = "heron\n\n   [bold]the reeds[/bold] of the lower river :bird: are full of them\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_text(LINES * 20)
    assert capsys.readouterr().out == LINES * 20 + "\n"


def test_against_textwrap_a_terminal_gets_words_and_indents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    print_text(LINES)
    printed = sys.stdout.getvalue().removesuffix("\n").split("\n")
    expected = [
        row
        for line in LINES.split("\n")
        for row in textwrap.wrap(line, 40, subsequent_indent=" " * (len(line) - len(line.lstrip()))) or [""]
    ]
    assert printed == expected


@given(st.text(st.characters(codec="utf-8")))
def test_law_nothing_printed_is_a_control_character(text: str) -> None:
    printed = harmless(text)
    assert len(printed) == len(text)
    assert all(c.isprintable() or c in "\n\t" or ord(c) > 0x9F for c in printed)
    assert harmless(printed) == printed
