import json
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from xgen.data.shards import open_corpus

RECIPE = """
name = "small"
tokenizer = { vocab_size = 300, sample_mb = 1 }
held_out_share = 0.1
[[source]]
name = "pages"
kind = "jsonl"
set = "prose"
paths = ["pages.jsonl"]
licence = "MIT"
[[source]]
name = "talk"
kind = "chats"
set = "chat"
paths = ["talk.jsonl"]
licence = "CC0-1.0"
language = "en"
"""
WORDS = (
    "the of and to that with for it is not a day letter clerk office reads keeps window paper answer old new"
    " street river number page market winter summer morning hand glass door key book table stone bridge tower"
)
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def recipe(home: Path) -> Path:
    chance = random.Random(1)
    pages = [
        {
            "id": f"{MARKUP}{i}",
            "language": "en",
            "text": "\n\n".join(f"{' '.join(chance.choices(WORDS.split(), k=14))}." for _ in range(9)),
        }
        for i in range(20)
    ]
    pages.append({"id": "short", "language": "en", "text": f"No. {MARKUP}"})
    turns = [
        {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}."}]}
        for i in range(12)
    ]
    (home / "pages.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages))
    (home / "talk.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in turns))
    (home / "small.toml").write_text(RECIPE)
    return home / "small.toml"


def test_a_corpus_is_built_and_shown(run_xgen: Callable, recipe: Path) -> None:
    built = run_xgen("data", "build", str(recipe))
    assert built.code == 0, built.err
    assert "came: 33 documents" in built.out
    assert "rejected: 1 documents" in built.out
    folder = recipe.parent / "home" / "corpora" / "small"
    corpus = open_corpus(folder, check=True)
    assert set(corpus.sets) == {"prose.en", "prose.en.held", "chat.en", "chat.en.held"}
    shown = run_xgen("data", "show", "small")
    assert shown.code == 0
    assert "CC0-1.0" in shown.out
    told = json.loads(run_xgen("data", "show", str(folder), "--json").out)
    assert told["sets"]["prose.en"]["documents"] == corpus.sets["prose.en"].n_documents
    assert sum(count["documents"] for count in told["licences"].values()) == 32
    again = run_xgen("data", "build", str(recipe), "--json")
    assert json.loads(again.out)["sets"] == told["sets"]


def test_the_page_is_whole_in_itself_and_samples_are_only_shown(run_xgen: Callable, recipe: Path) -> None:
    run_xgen("data", "build", str(recipe))
    folder = recipe.parent / "home" / "corpora"
    page = (folder / "small-report.html").read_text()
    assert MARKUP not in page
    assert "&lt;script&gt;" in page
    assert "src=" not in page
    assert "too_little_left" in page
    pictures = page.split("<svg")[1:]
    assert len(pictures) == 3
    for picture in pictures:
        ET.fromstring("<svg" + picture.split("</svg>")[0] + "</svg>")
    facts = json.loads((folder / "small-report.json").read_text())
    totals = facts["totals"]
    assert totals["came"]["documents"] == totals["kept"]["documents"] + totals["rejected"]["documents"]
    assert totals["came"]["bytes"] == sum(totals[name]["bytes"] for name in ("kept", "rejected", "removed"))


def test_what_is_wrong_is_said_in_one_sentence(run_xgen: Callable, recipe: Path) -> None:
    for words in (["build", "none.toml"], ["show", "nothing"], ["build", str(recipe), "--eval", "."]):
        ended = run_xgen("data", *words)
        assert ended.code == (0 if words[-1] == "." else 2)
        assert "Traceback" not in ended.err
    recipe.write_text(RECIPE.replace("vocab_size = 300", "vocab_size = 100"))
    ended = run_xgen("data", "build", str(recipe))
    assert ended.code == 2
    assert "a vocabulary of 100" in ended.err
