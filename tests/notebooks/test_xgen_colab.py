"""Every cell of the notebook runs, with the smallest model, in a Python of its own."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "xgen_colab.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
CHOICE = re.compile(r'^MODEL = "[^"]+"$', re.MULTILINE)


def test_its_form_is_that_of_jupyter() -> None:
    """nbformat 4.5: each cell has an id of its own and the fields of its kind."""
    ids = [cell["id"] for cell in CELLS]
    assert len(set(ids)) == len(ids)
    for cell in CELLS:
        assert isinstance(cell["source"], list)
        assert cell["cell_type"] == "markdown" or {"outputs", "execution_count"} <= cell.keys()
    magic = [cell for cell in CODE if "%" in cell["source"][0][:1]]
    assert [cell["metadata"]["tags"] for cell in magic] == [["install"]]


@pytest.mark.skipif(sys.platform != "linux", reason="code of a model runs in a sandbox of Linux only")
def test_every_cell_runs(tmp_path: Path) -> None:
    sources = ["".join(cell["source"]) for cell in CODE if "install" not in cell["metadata"].get("tags", [])]
    assert sum(len(CHOICE.findall(source)) for source in sources) == 1, "one constant chooses the model"
    for source in sources:
        ast.parse(source)
    program = "\nprint('=' * 9)\n".join(CHOICE.sub('MODEL = "nano"', source) for source in sources)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=NOTEBOOK.parent,
        env={**os.environ, "XGEN_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shown = ended.stdout.split("=" * 9 + "\n")
    assert len(shown) == len(sources)
    loaded, chatted, summary, written, asked, use, function, checked = shown[1:]
    eight, sixteen = (int(n) for n in re.findall(r"([\d,]+) MB", loaded))
    assert eight < 0.55 * sixteen, "8-bit weights alone"
    assert chatted.count("cook:") == 2
    assert "xgen-7b.md, line 3]" in summary
    assert "not in the article:" in written
    assert asked.count("Q: ") == asked.count("A: ") == 3
    assert "May not be used commercially:\n  xgen-7b-8k-inst  research only" in use
    assert function.strip()
    assert "the model's function is" in checked
    assert "the check passes a right function and refuses one that opens a file" in checked
