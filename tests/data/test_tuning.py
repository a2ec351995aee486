"""From a user's own files to the tuning sets of a corpus: nothing held back in them, nothing in two."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xgen.cli.wording import reading_words
from xgen.data.recipe import load_recipe
from xgen.data.run import Built, Places, build_corpus
from xgen.data.shards import Corpus, open_corpus
from xgen.data.tuning import Manner, template_of
from xgen.files import model_folder
from xgen.formats.folder import CHATML
from xgen.text.chat import Message
from xgen.text.tokenizer import Tokenizer

MANNER = Manner(CHATML, reading_words())
RECIPE = """
name = "mine"
tokenizer = "tiny"
held_out_share = 0.1
held_back = "back.json"
languages = ["en", "de"]

[[source]]
name = "talk"
kind = "chats"
set = "chat"
paths = ["talk.jsonl"]
language = "en"
licence = "CC0-1.0"

[[source]]
name = "ponds"
kind = "chats"
set = "group"
paths = ["ponds.jsonl"]
licence = "CC-BY-4.0"
groups = { tokens = 3000, contexts = [300, 1500], absent_share = 0.0, longest_answer = 12 }

[[source]]
name = "wells"
kind = "chats"
set = "made"
paths = ["wells.jsonl"]
licence = "MIT"
groups = { tokens = 3000, contexts = [300, 1500], absent_share = 0.0, longest_answer = 12 }
"""


def pond(number: int) -> dict[str, Any]:
    text = f"Pond {number} was dug in the year {1500 + number} by the smith of the village. It is deep."
    return {
        "id": f"p{number}",
        "lang": "de" if number % 3 == 0 else "en",
        "title": f"Pond {number}",
        "text": text,
        "questions": [
            {
                "id": name,
                "question": f"{asked} pond {number}?",
                "type": "extractive",
                "answers": [{"text": said, "start": text.index(said)}],
            }
            for name, asked, said in (
                ("year", "When was the digging of", str(1500 + number)),
                ("who", "Who dug", "the smith of the village"),
            )
        ],
    }


@pytest.fixture
def built(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Built, Corpus]:
    """A corpus of conversations and of questions, ids by a pulled model's tokenizer."""
    pytest.importorskip("zstandard")
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    shutil.copytree(tiny_folder, model_folder("tiny"))
    talk = [
        {
            "messages": [
                {"role": "user", "content": f"Say {n}"},
                {"role": "assistant", "content": f"It is {n}."},
            ]
        }
        for n in range(30)
    ]
    lines = [json.dumps(record) for record in talk]
    lines += [json.dumps({"messages": [{"role": "user", "content": "Hello?"}]}), "{"]
    (tmp_path / "talk.jsonl").write_text("\n".join(lines))
    (tmp_path / "ponds.jsonl").write_text("\n".join(json.dumps(pond(n)) for n in range(40)))
    (tmp_path / "wells.jsonl").write_text("\n".join(json.dumps(pond(n)) for n in range(50, 70)))
    (tmp_path / "back.json").write_text(json.dumps({"ponds": {"p4": [], "p9": []}}))
    (tmp_path / "mine.toml").write_text(RECIPE)
    places = Places(tmp_path / "corpus", tmp_path / "work", tmp_path / "downloads")
    made = build_corpus(load_recipe(tmp_path / "mine.toml"), places, MANNER, n_workers=1, quiet=True)
    return made, open_corpus(tmp_path / "corpus", check=True)


def test_every_line_is_trained_held_out_or_rejected_by_name(built: tuple[Built, Corpus]) -> None:
    made, corpus = built
    reasons = Counter[tuple[str, str, str]]()
    for entry in made.tally.entries():
        if entry.reason:
            reasons[entry.source, entry.verdict, entry.reason] += entry.documents
    assert reasons.pop(("talk", "rejected", "ends_without_reply")) == 1
    assert reasons.pop(("talk", "rejected", "not_json")) == 1
    assert reasons.pop(("ponds", "rejected", "held_back")) == 2
    removed = ("ponds", "removed", "long_answer"), ("wells", "removed", "long_answer")
    assert reasons == dict(zip(removed, (38, 20), strict=True))
    assert made.tally.fault() is None
    made_of = corpus.sets["made.en"], corpus.sets["made.de"]
    assert sum(len(one.parts) - one.n_documents for one in made_of if one.parts is not None) > 15
    assert corpus.sets["chat.en"].n_documents + corpus.sets["chat.en.held"].n_documents == 30


def test_no_document_is_in_a_trained_and_a_held_out_group(built: tuple[Built, Corpus]) -> None:
    _, corpus = built
    tokenizer = Tokenizer.from_folder(corpus.folder)
    ponds: dict[str, set[str]] = {}
    for name in ("group.en", "group.de", "group.en.held", "group.de.held"):
        if name in corpus.sets:
            text = tokenizer.decode(corpus.sets[name].ids.tolist())
            ponds[name] = {words.split(" ")[0] for words in text.split("Pond ")[1:]}
    assert "group.en.held" in ponds
    assert sum(map(len, ponds.values())) == len(set.union(*ponds.values())) == 38
    assert not {"4", "9"} & set.union(*ponds.values())
    assert {int(n) % 3 for n in ponds["group.de"]} == {0}


def test_what_is_trained_are_replies_and_their_ends(built: tuple[Built, Corpus]) -> None:
    _, corpus = built
    tokenizer = Tokenizer.from_folder(corpus.folder)
    end = tokenizer.special_ids["<|im_end|>"]
    for name, tokens in corpus.sets.items():
        assert tokens.trained is not None
        learned = tokens.ids[np.asarray(tokens.trained) == 1].tolist()
        replies = [tokenizer.decode(reply) for reply in _parted(learned, end)]
        if name.startswith("chat"):
            assert all(reply.startswith("It is ") and reply.endswith(".") for reply in replies)
            assert len(replies) == tokens.n_documents
        else:
            assert tokens.parts is not None
            assert all(re.fullmatch('15[0-9]{2}"?', reply) for reply in replies)
            quoted = sum(reply.endswith('"') for reply in replies)
            assert 0 < quoted < len(replies) or len(replies) < 10, "both ways of reading are learned"
            assert len(replies) == len(tokens.parts) - tokens.n_documents


def test_whose_it_is_goes_along(built: tuple[Built, Corpus]) -> None:
    _, corpus = built
    for name, tokens in corpus.sets.items():
        expected = {"chat": ("talk", "CC0-1.0"), "group": ("ponds", "CC-BY-4.0"), "made": ("wells", "MIT")}
        whose = {(record.source, record.licence) for record in tokens.documents()}
        assert whose == {expected[name.partition(".")[0]]}


def test_a_models_own_template_comes_before_the_builds(tiny_folder: Path, tmp_path: Path) -> None:
    settings = json.loads((tiny_folder / "tokenizer_config.json").read_text())
    own = settings | {"chat_template": "{% for m in messages %}[{{ m.content }}]{% endfor %}"}
    (tiny_folder / "tokenizer_config.json").write_text(json.dumps(own))
    (tmp_path / "learned").mkdir()
    shutil.copy(tiny_folder / "tokenizer.json", tmp_path / "learned")
    turns = [Message("user", "x")]
    assert "".join(p.text for p in template_of(tiny_folder, MANNER).render(turns)) == "[x]"
    rendered = "".join(p.text for p in template_of(tmp_path / "learned", MANNER).render(turns))
    assert rendered.startswith("<|im_start|>user\nx<|im_end|>")


def _parted(ids: list[int], end: int) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for i in ids:
        if i == end:
            found.append([])
        else:
            found[-1].append(i)
    assert found.pop() == []
    return found
