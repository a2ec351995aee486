"""Every fenced block of README, CONTRIBUTING and docs/ runs: a page cannot promise what the code does not do.

`bash` and `console` blocks run in bash (of a console block the lines after "$ "), `python` blocks in a
fresh Python, each in a folder of its own that holds the pages and a few documents to read. Words after
the language say more: `model` needs the models that the block names (the default one if it names
none), `network` and `gpu` blocks are parsed only. Blocks in other languages are not code to run.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from xgen.cards import CARDS, DEFAULT_TO_READ, pulled_name
from xgen.files import cache_folder

ROOT = Path(__file__).parent.parent
# docs/cli.md shows usage, not commands; tests/cli/test_manual.py holds it.
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.exists() and page.name != "cli.md"
]
MAX_BLOCK_S = 60


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    marks: frozenset[str]
    code: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in re.finditer(r"^(`{3,})([^\n`]*)\n(.*?)^\1$", text, re.MULTILINE | re.DOTALL):
        language, *marks = fence[2].split() or [""]
        code = fence[3]
        if language == "console":
            code = "".join(line.removeprefix("$ ") for line in code.splitlines(True) if line.startswith("$ "))
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page, line, language, frozenset(marks), code))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
SHELL = [block for block in BLOCKS if block.language in ("bash", "console", "sh")]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def name_of(block: Block) -> str:
    return f"{block.page.name}:{block.line}"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with the pages and with documents of the names that examples use."""
    for page in PAGES:
        copy = tmp_path / page.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(page, copy)
    story = ["The report was signed by Ada Moreau on 3 May 2021.", "It counts 412 herons on the lower river."]
    (tmp_path / "notes.txt").write_text("\n".join(story), encoding="utf-8")
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "report.pdf"))
    for i, sentence in enumerate(story):
        canvas.drawString(72, 720 - 20 * i, sentence)
    canvas.save()
    return tmp_path


def skip_what_cannot_run(block: Block) -> None:
    if "model" in block.marks:
        named = {name for name in CARDS if name in block.code} or {DEFAULT_TO_READ}
        missing = {name for name in named if not (cache_folder() / "models" / pulled_name(name)).is_dir()}
        if missing:
            pytest.skip(f"{', '.join(sorted(missing))} not on disk (`make test` pulls the tests' models)")


def run(words: list[str], block: Block, folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    ended = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        input=block.code,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=MAX_BLOCK_S,
    )
    assert ended.returncode == 0, f"{name_of(block)}\n{block.code}\n{ended.stdout}\n{ended.stderr}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize("block", SHELL, ids=name_of)
def test_shell_blocks_run(block: Block, desk: Path) -> None:
    if block.marks & {"network", "gpu"}:
        run(["bash", "-n"], block, desk)
        return
    skip_what_cannot_run(block)
    run(["bash", "-euo", "pipefail", "-s"], block, desk)


@pytest.mark.parametrize("block", PYTHON, ids=name_of)
def test_python_blocks_run(block: Block, desk: Path) -> None:
    ast.parse(block.code)
    if block.marks & {"network", "gpu"}:
        return
    skip_what_cannot_run(block)
    run([sys.executable, "-"], block, desk)


@pytest.mark.parametrize("block", BLOCKS, ids=name_of)
def test_marks_are_known(block: Block) -> None:
    assert block.marks <= {"model", "network", "gpu"}, f"{name_of(block)}: unknown mark"


def test_blocks_are_found_with_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n```console model\n$ xgen models\nname\n$ true\n```\n\n````text\n```python\n```\n````\n"
    )
    console, text = blocks_of(page)
    assert console == Block(page, 2, "console", frozenset({"model"}), "xgen models\ntrue\n")
    assert (text.language, text.line) == ("text", 8)
