"""The command line run in this process, over a reader made by hand."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import xgen
from xgen.cli.app import main
from xgen.files import cache_folder
from xgen.read.answer import Answer, Citation, DocumentReport, Reading, Summary, SummarySentence
from xgen.text.document import Document


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder and a working folder that nothing else knows."""
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_xgen(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["xgen", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(int(end.value.code or 0), *capsys.readouterr())

    return run


def reading(documents: list[Document], questions: list[str], summarize: bool) -> Reading:
    """What a reader could have found in the first document: its first word, for every question."""
    document = documents[0]
    word = document.text.split()[0]
    place = document.place(0)
    citation = Citation(word, document.path, place.page, place.line, 0, len(word), verified=True)
    return Reading(
        model="qwen-0.5b",
        how="select",
        why="it measures better",
        documents=tuple(DocumentReport(one.path, 9, 5, one.dropped) for one in documents),
        summary=Summary((SummarySentence(word, citation),), "all of it") if summarize else None,
        answers=tuple(
            Answer(question, word, 0.5, 0.6, (citation,), prompt_tokens=7, answer_tokens=2)
            for question in questions
        ),
        timing={"prefill": 0.25},
    )


@dataclass
class HandmadeChat:
    """Says each turn back, and what it knows."""

    system: str | None
    documents: list[Document]
    turns: list[str] = field(default_factory=list)

    def send(self, text: str) -> Iterator[str]:
        self.turns.append(text)
        yield f"{self.system} "
        yield f"{[one.path for one in self.documents]} {self.turns}"

    def add(self, document: Document) -> None:
        self.documents.append(document)

    def reset(self) -> None:
        self.turns.clear()
        self.documents.clear()


class HandmadeReader:
    """Takes what the command line hands it."""

    calls: list[dict[str, Any]]
    loaded: dict[str, Any]

    def __init__(self) -> None:
        self.calls = []

    def read(
        self,
        documents: list[Document],
        questions: tuple[str, ...] = (),
        summarize: bool = False,
        tell: Callable[[str], None] = lambda block: None,
        **rest: Any,
    ) -> Reading:
        self.calls.append({"questions": list(questions), "summarize": summarize, **rest})
        made = reading(list(documents), list(questions), summarize)
        tell(str(made))
        return made

    def chat(
        self, system: str | None = None, documents: tuple[Document, ...] = (), **rest: Any
    ) -> HandmadeChat:
        self.calls.append(rest)
        return HandmadeChat(system, list(documents))


@pytest.fixture
def reader(home: Path, monkeypatch: pytest.MonkeyPatch) -> HandmadeReader:
    """The default model is on disk, and loading it gives a reader made by hand."""
    made = HandmadeReader()
    (cache_folder() / "models" / "qwen-0.5b").mkdir(parents=True)

    def load(*words: str, **options: Any) -> HandmadeReader:
        made.loaded = options
        return made

    monkeypatch.setattr(xgen, "load", load)
    return made
