"""A tiny random model that reads, and a trust in which every span counts as found."""

from collections.abc import Callable
from pathlib import Path

import pytest

from xgen.bundle import Bundle, load
from xgen.formats.gguf import convert
from xgen.read import trust

WINDOW = 4096


@pytest.fixture
def tiny(make_gguf: Callable[..., Path], tmp_path: Path) -> Bundle:
    """Random weights, a byte-level tokenizer and the ChatML template: what it says is noise."""
    convert(make_gguf(values={"llama.context_length": WINDOW}), tmp_path / "tiny")
    return load(tmp_path / "tiny", device="cpu", dtype="fp32")


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a random model writes is worth much; here it is enough."""
    entry = {"weights": [0.1] * 9, "bias": 0.0, "threshold": 0.0, "edges": [], "right": [0.5]}
    monkeypatch.setattr(trust, "_calibration", lambda: {trust.UNMEASURED: {"select": entry, "whole": entry}})
