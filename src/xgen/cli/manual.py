"""docs/cli.md, written from the command line itself: `python -m xgen.cli.manual docs/cli.md`."""

import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from xgen.cli.app import app
from xgen.files import write_whole


def command_line_as_markdown() -> str:
    """Every verb with its arguments and options, as Markdown."""
    command = typer.main.get_command(app)
    pages = get_docs_for_click(obj=command, ctx=typer.Context(command), name="xgen", title="The command line")
    return pages.rstrip() + "\n"


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), command_line_as_markdown().encode("utf-8"))
