"""Results for people, on standard output; nothing that stands in a document steers their terminal."""

import sys
import unicodedata

from rich.console import Console
from rich.table import Table
from rich.text import Text


def harmless(text: str) -> str:
    """Replace control characters, line breaks and tabs apart, by U+FFFD: they show and do nothing."""
    return "".join("\ufffd" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


def print_text(text: str) -> None:
    """Print a text: as it is in a pipe, wrapped at words with each line's indent kept on a terminal."""
    text = harmless(text)
    if not sys.stdout.isatty():
        print(text)
        return
    console = Console()
    for line in text.split("\n"):
        words = line.lstrip(" ")
        indent = len(line) - len(words)
        for row in Text(words).wrap(console, console.width - indent) or [Text()]:
            print(" " * indent + row.plain.rstrip())


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print rows under a header in columns as wide as they need; a pipe gets every column whole."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(harmless(cell) for cell in row))
    width = None if sys.stdout.isatty() else 200
    Console(highlight=False, markup=False, emoji=False, width=width).print(table)
