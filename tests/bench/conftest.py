"""The benches are scripts that import one another: their folder must be on the path."""

import sys
from pathlib import Path

import pytest

BENCH = str(Path(__file__).parents[2] / "bench")
if BENCH not in sys.path:
    sys.path.insert(0, BENCH)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with which the copies of small models' weights go."""
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
