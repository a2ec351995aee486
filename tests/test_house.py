"""The house's own rules: who imports whom, what a start loads, how large a file may grow, what stays out."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON_FILES = sorted(path for folder in ("src", "tests", "bench") for path in (ROOT / folder).rglob("*.py"))
ROOM_NAMES = sorted(
    path.stem
    for path in (ROOT / "src" / "xgen").iterdir()
    if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists())
)
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")


def test_against_import_linter_the_table_holds() -> None:
    lint = run(str(shutil.which("lint-imports", path=Path(sys.executable).parent)))
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("room", ROOM_NAMES)
def test_law_every_room_is_in_the_import_table(room: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {module for contract in contracts for module in contract["source_modules"]}
    assert f"xgen.{room}" in named or room in ("cli", "__main__"), "the command alone may import everything"
    unrestricted = [c["name"] for c in contracts if "xgen.cli" not in c["forbidden_modules"]]
    assert not unrestricted, "nobody imports cli"


SHOW_HELP = """
import sys
from xgen.cli.app import main
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize("start", ["import xgen", SHOW_HELP], ids=["import", "help"])
def test_start_loads_nothing_heavy(start: str) -> None:
    heavy = {"torch", "transformers", "numpy", "pypdfium2", "lxml", "docx", "tokenizers", "huggingface_hub"}
    result = run(sys.executable, "-c", f"{start}\nimport sys\nprint({heavy} & set(sys.modules))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_law_files_and_functions_stay_small(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n_lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert n_lines <= MAX_FUNCTION_LINES, f"{node.name} has {n_lines} lines"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_law_nothing_is_left_for_later(path: Path) -> None:
    assert path.stem not in {"utils", "common", "helpers", "base", "manager", "legacy"}
    left = re.findall("TO" + "DO|FIX" + "ME|raise NotImplemented" + "Error", path.read_text(encoding="utf-8"))
    assert not left


def test_law_pins_are_versions_and_nothing_else() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert len(lines) > 10
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line)] == []
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(set(names)), "one line a name, in one order, so that a change shows"
