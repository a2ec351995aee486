from pathlib import Path

from xgen.cli.manual import command_line_as_markdown


def test_the_committed_manual_is_what_the_command_line_says() -> None:
    committed = Path(__file__).parents[2] / "docs" / "cli.md"
    assert committed.read_text(encoding="utf-8") == command_line_as_markdown(), "run `make docs`"
