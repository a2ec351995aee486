"""A tiny random model that reads, and a trust in which every span counts as found."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xgen import shelf
from xgen.bundle import Bundle, load
from xgen.formats.gguf import convert
from xgen.read import free, trust
from xgen.read.reader import Reader
from xgen.text.xgen_tokens import XGEN_TEMPLATE

WINDOW = 4096


@pytest.fixture
def tiny(make_gguf: Callable[..., Path], tmp_path: Path) -> Bundle:
    """Random weights, a byte-level tokenizer and the ChatML template: what it says is noise."""
    convert(make_gguf(values={"llama.context_length": WINDOW}), tmp_path / "tiny")
    return load(tmp_path / "tiny", device="cpu", dtype="fp32")


@pytest.fixture
def xgen_like(make_gguf: Callable[..., Path], vocabulary: dict[str, Any], tmp_path: Path) -> Bundle:
    """The same with XGen's template, whose turns are marked by ordinary text, and `###` among the tokens."""
    tokens, kinds = list(vocabulary["tokens"]), list(vocabulary["kinds"])
    unused = kinds.index(5)
    tokens[unused : unused + 2], kinds[unused : unused + 2] = ["##", "###"], [1, 1]
    values = {
        "llama.context_length": WINDOW,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [*vocabulary["merges"], "# #", "## #"],
        "tokenizer.chat_template": XGEN_TEMPLATE,
    }
    convert(make_gguf(values=values), tmp_path / "xgen-like")
    return load(tmp_path / "xgen-like", device="cpu", dtype="fp32")


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a random model writes is worth much; here it is enough."""
    measured = {"absent_questions": 9, "f1": {"en alone": 0.5}}
    entry = {"weights": [0.1] * 9, "bias": 0.0, "threshold": 0.0, "edges": [], "right": [0.5]}
    entry |= {"measured": measured, "beams": 16}
    monkeypatch.setattr(trust, "_calibration", lambda: {trust.UNMEASURED: {"select": entry, "whole": entry}})


@pytest.fixture
def reader(tiny: Bundle, trusting: None) -> Reader:
    """The tiny model as a reader to which everything found counts."""
    return Reader(tiny)


@pytest.fixture
def says(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the model's free answers be a text."""

    def says(text: str) -> None:
        def generate(*words: Any) -> Iterator[int]:
            yield from tiny.tokenizer.encode(text)[: words[5]]

        monkeypatch.setattr(free, "generate", generate)

    return says


@pytest.fixture(autouse=True)
def documents_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for the documents that a test keeps."""
    monkeypatch.setattr(shelf, "folder", lambda: tmp_path / "documents")
    return tmp_path / "documents"
