import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from xgen.cli.plan import step_table
from xgen.data.document import Document
from xgen.data.ledger import rows_of_step, trace
from xgen.data.plan import plan_run
from xgen.data.shards import open_corpus, write_corpus
from xgen.train.recipe import load_recipe

RECIPE = """
name = "small"
corpus = "letters"
tokens_per_step = 64
[model]
n_layers = 1
d_model = 8
d_ff = 8
n_heads = 1
n_kv_heads = 1
head_dim = 8
max_seq_len = 32
[[stage]]
name = "first"
length = 16
tokens = 100
mix = { "prose.*" = 1.0 }
learning_rate = { peak = 1e-3 }
[[stage]]
name = "second"
length = 32
tokens = 128
mix = { "prose.*" = 1.0, "code.py" = 1.0 }
learning_rate = { peak = 1e-3 }
"""


@pytest.fixture
def recipe(home: Path) -> Path:
    path = home / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def corpus(home: Path) -> Path:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    folder = home / "home" / "corpora" / "letters"
    with write_corpus(folder, "letters", json.loads(made.to_str()), {}) as writer:
        for name, n, licence in (
            ("prose.de", 30, "CC0-1.0"),
            ("code.py", 30, "MIT"),
            ("prose.de.held", 3, "X"),
        ):
            for index in range(n):
                document = Document("text", f"source-{licence}", f"{name}/{index}", licence, name[-2:])
                writer.add(name, document, [index] * (5 + index))
    return folder


def test_it_shows_what_each_stage_will_read(run_xgen: Callable, recipe: Path, corpus: Path) -> None:
    ended = run_xgen("data", "plan", str(recipe), "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    first, second = found["stages"]
    assert (first["steps"], first["rows"], first["tokens"]) == (2, 8, 128)
    assert (second["steps"], second["rows"], second["tokens"]) == (2, 4, 128)
    assert [one["set"] for one in first["sets"]] == ["prose.de"]
    assert {one["set"] for one in second["sets"]} == {"prose.de", "code.py"}
    assert sum(one["share"] for one in second["sets"]) == pytest.approx(1)
    (prose,) = (one for one in second["sets"] if one["set"] == "prose.de")
    assert prose["epochs_so_far"] == pytest.approx(prose["epochs"] + first["sets"][0]["epochs"])
    assert set(second["licences"]) == {"CC0-1.0", "MIT"}
    assert sum(second["licences"].values()) == sum(one["positions"] for one in second["sets"])
    assert set(found["never_read"]) == {"prose.de", "code.py"}
    shown = run_xgen("data", "plan", str(recipe), "--corpus", str(corpus)).out
    for part in ("first: 2 steps, 8 rows of 16, 128 tokens", "prose.de", "CC0-1.0", "never read"):
        assert part in shown
    assert "held" not in shown


def test_what_cannot_be_fed_ends_with_two_and_a_way_out(
    run_xgen: Callable, recipe: Path, corpus: Path
) -> None:
    recipe.write_text(RECIPE.replace("tokens = 128", "tokens = 128_000"))
    ended = run_xgen("data", "plan", str(recipe))
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("xgen: stage second: ")
    assert "short; lower its weight" in ended.err
    recipe.write_text(RECIPE)
    ids = corpus / "prose.de.ids"
    ids.write_bytes(b"\xff\xff" + ids.read_bytes()[2:])
    ended = run_xgen("data", "plan", str(recipe))
    assert (ended.code, "prose.de.ids: its digest" in ended.err) == (2, True)


def test_missing_sources_are_listed_by_name_with_their_tokens(
    run_xgen: Callable, recipe: Path, corpus: Path
) -> None:
    recipe.write_text(RECIPE.replace('"code.py" = 1.0', '"book.*" = 3.0'))
    ended = run_xgen("data", "plan", str(recipe), "--json")
    assert (ended.code, json.loads(ended.out)) == (2, {"missing": {"book.*": 96}})
    assert "nothing matches book.*, wanted for 96 tokens" in ended.err
    recipe.write_text(RECIPE.replace('"letters"', '"none"'))
    ended = run_xgen("data", "plan", str(recipe))
    assert ended.code == 2
    assert "there is no corpus: nothing matches prose.*, code.py, wanted for 228 tokens" in ended.err
    assert [line.split() for line in ended.out.splitlines()[1:]] == [["prose.*", "164"], ["code.py", "64"]]


@pytest.fixture
def run(home: Path, recipe: Path, corpus: Path) -> Path:
    read = load_recipe(recipe)
    table: dict[str, Any] = {"corpus": str(corpus), "seed": 3, "tokens_per_step": 64}
    (home / "run").mkdir()
    stages = [asdict(stage) for stage in read.stages]
    (home / "run" / "run.json").write_text(json.dumps(table | {"stages": stages}))
    return home / "run"


def test_law_documents_of_equal_ids_are_told_apart(recipe: Path, corpus: Path) -> None:
    """All of one source and one id: as many as the step's rows hold, each with its own tokens."""
    for name in ("prose.de", "code.py"):
        path = corpus / f"{name}.jsonl"
        lines = [json.loads(line) | {"id": "same"} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    opened = open_corpus(corpus)
    plans = plan_run(opened, load_recipe(recipe).stages, 3, 64)
    read = trace(opened, *rows_of_step(plans, 3))
    table = step_table(read)
    assert len(table["documents"]) == len({(one.set, one.index) for one in read}) > 2
    for one in table["documents"]:
        assert one["n_tokens"] == opened.sets[one["set"]].lengths[one["index"]]
        starts = [piece["start"] for piece in one["pieces"]]
        assert starts == sorted(set(starts)), "no token twice"


def test_a_step_is_traced_to_documents_and_licences(run_xgen: Callable, run: Path) -> None:
    found = json.loads(run_xgen("data", "trace", str(run), "--step", "3", "--json").out)
    assert (found["step"], found["stage"], found["rows"]) == (3, "second", [0, 2])
    assert {one["licence"] for one in found["groups"]} == {"CC0-1.0", "MIT"}
    for group in found["groups"]:
        mine = [one for one in found["documents"] if one["licence"] == group["licence"]]
        assert group["source"] == f"source-{group['licence']}"
        assert group["documents"] == len(mine)
        pieces = [piece for one in mine for piece in one["pieces"]]
        assert group["tokens"] == sum(piece["end"] - piece["start"] for piece in pieces)
        assert all(piece["row"] in (0, 1) for piece in pieces)
    shown = run_xgen("data", "trace", str(run), "--step", "3").out
    assert shown.startswith("step 3: rows 0 to 1 of stage second\n")
    assert all(one["id"] in shown for one in found["documents"])
    ended = run_xgen("data", "trace", str(run), "--step", "5")
    assert (ended.code, "the run has steps 1 to 4" in ended.err) == (2, True)
    assert run_xgen("data", "trace", str(run.parent), "--step", "1").code == 2
