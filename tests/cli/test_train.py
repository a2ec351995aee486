"""The walk of docs/train.md, small: a corpus from a folder, a model from it, its plot, its documents."""

import json
from pathlib import Path

import pytest

from xgen.bundle import load
from xgen.files import held_alone

ROOT = Path(__file__).parents[2]

CORPUS = """
name = "walk"
tokenizer = {{ vocab_size = 400, sample_mb = 1 }}
held_out_share = 0.2
[[source]]
name = "texts"
kind = "folder"
set = "prose"
paths = ["{folder}"]
take = ["*.txt"]
language = "en"
licence = "CC0-1.0"
licence_source = "this test"
"""

RECIPE = """
name = "walk"
corpus = "walk"
dtype = "fp32"
tokens_per_step = 512
checkpoint_steps = 5
log_steps = 5
held_out_tokens = 2000
[model]
n_layers = 1
d_model = 32
d_ff = 64
n_heads = 2
n_kv_heads = 1
head_dim = 16
max_seq_len = 512
[[stage]]
name = "short"
length = 128
tokens = 4000
mix = { "prose.*" = 1.0 }
learning_rate = { peak = 0.01, warmup_tokens = 1000 }
[[stage]]
name = "long"
length = 512
tokens = 3000
mix = { "prose.*" = 1.0 }
learning_rate = { peak = 0.01, decay = "linear", decay_tokens = 3000 }
[card]
licence = "CC0-1.0"
licence_source = "this test"
"""


@pytest.fixture
def recipes(home: Path) -> Path:
    """A corpus recipe with the sections of this project's pages beside it, and a recipe over it."""
    folder = home / "texts"
    folder.mkdir()
    for page in sorted((ROOT / "docs").glob("*.md")):
        for index, section in enumerate(page.read_text(encoding="utf-8").split("\n## ")):
            (folder / f"{page.stem}-{index}.txt").write_text(section + "\n", encoding="utf-8")
    (home / "corpus.toml").write_text(CORPUS.format(folder=folder))
    (home / "recipe.toml").write_text(RECIPE)
    return home


def test_the_walk(recipes: Path, run_xgen) -> None:
    built = run_xgen("data", "build", "corpus.toml")
    assert built.code == 0, built.err
    planned = run_xgen("data", "plan", "recipe.toml", "--json")
    assert planned.code == 0, planned.err
    trained = run_xgen("train", "recipe.toml", "--out", "run", "--device", "cpu", "--json")
    assert trained.code == 0, trained.err
    assert json.loads(trained.out) == {"finished": True, "run": "run", "made": "run/model"}
    assert "long 14/14" in trained.err
    steps = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert steps[-1]["loss"] < steps[0]["loss"] - 0.5
    held = [json.loads(line) for line in Path("run/held_out.jsonl").read_text().splitlines()]
    assert [one["stage"] for one in held] == ["short", "long"]
    assert all(0 < one["sets"]["prose.en"]["bits_per_byte"] < 8 for one in held)

    assert run_xgen("plot", "run").out.strip() == "run/run.svg"
    assert Path("run/run.svg").read_text().lstrip().startswith("<?xml")
    traced = run_xgen("data", "trace", "run", "--step", "3", "--json")
    assert traced.code == 0, traced.err
    assert "CC0-1.0" in traced.out
    ledger = json.loads(run_xgen("data", "trace", "run", "--json").out)
    assert ledger["steps"] == 14
    trained = sum(one["trained"] for one in ledger["read"])
    assert trained == sum(step["trained_tokens"] for step in steps), "the ledger says what the steps counted"

    Path("notes.txt").write_text("The heron was near the river. The mill stood still.\n")
    read = run_xgen(
        "read", "notes.txt", "--model", "run/model", "--ask", "What was near the river?", "--json"
    )
    assert read.code == 0, read.err
    assert json.loads(read.out)["answers"][0]["question"] == "What was near the river?"
    again = run_xgen("train", "recipe.toml", "--out", "run", "--device", "cpu", "--json")
    assert again.code == 0, "a finished run says so again"


def test_against_transformers_a_trained_folder(recipes: Path, run_xgen) -> None:
    import torch

    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    assert run_xgen("data", "build", "corpus.toml").code == 0
    assert run_xgen("train", "recipe.toml", "--out", "run", "--device", "cpu").code == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained("run/model", dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained("run/model")
    ours = load(Path("run/model"), device="cpu", dtype="fp32")
    text = "On day 3 the heron was near the mill."
    ids = ours.tokenizer.encode(text)
    assert tokenizer(text).input_ids == ids
    with torch.no_grad():
        logits = ours.model.logits(ours.model(torch.tensor([ids])))
        torch.testing.assert_close(logits, theirs(torch.tensor([ids])).logits, rtol=1e-4, atol=1e-4)


def test_mistakes_are_one_sentence(recipes: Path, run_xgen) -> None:
    ended = run_xgen("train", "recipe.toml", "--out", "run")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "there is no corpus; xgen data build recipes/corpus-walk.toml" in ended.err
    assert "add --out DIR" in run_xgen("train", "recipe.toml").err
    assert "there is no such file" in run_xgen("train", "none.toml", "--out", "run").err
    assert "it holds no metrics of a run" in run_xgen("plot", "texts").err
    Path("odd").mkdir()
    for metrics, run in (("5", "{}"), ("{}", '{"tokens_per_step": 2}'), ('{"step": 1}', "[")):
        Path("odd/metrics.jsonl").write_text(metrics)
        Path("odd/run.json").write_text(run)
        ended = run_xgen("plot", "odd")
        assert (ended.code, "not those of a run" in ended.err) == (2, True)


def test_a_dry_run_says_what_xgen_7b_takes(home: Path, run_xgen) -> None:
    ended = run_xgen("train", str(ROOT / "recipes" / "xgen-7b.toml"), "--dry-run", "--json")
    told = json.loads(ended.out)
    assert told["parameters"] == 6_895_702_016
    memory = [one["total"] for one in told["memory_per_rank"].values()]
    assert memory == sorted(memory, reverse=True)
    assert told["memory_per_rank"]["8"]["state"] == 20 * told["parameters"] // 8
    assert sum(one["tokens"] for one in told["stages"][:4]) == 1_484_520_000_000
    assert "xgen-7b" in run_xgen("train", str(ROOT / "recipes" / "xgen-7b.toml"), "--dry-run").out


def test_a_folder_that_is_not_the_runs_own_is_left_alone(recipes: Path, run_xgen) -> None:
    assert run_xgen("data", "build", "corpus.toml").code == 0
    Path("other/model").mkdir(parents=True)
    Path("other/model/config.json").write_text("{}")
    ended = run_xgen("train", "recipe.toml", "--out", "other", "--device", "cpu")
    assert (ended.code, "it is not of a run in this folder" in ended.err) == (2, True)
    assert Path("other/model/config.json").read_text() == "{}"

    with held_alone(Path("run/.lock"), "run", "held"):
        ended = run_xgen("train", "recipe.toml", "--out", "run", "--device", "cpu")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "another process trains in it now" in ended.err


def test_a_base_may_be_in_shards_and_say_its_ends_in_its_configuration(recipes: Path, run_xgen) -> None:
    assert run_xgen("data", "build", "corpus.toml").code == 0
    assert run_xgen("train", "recipe.toml", "--out", "run", "--device", "cpu").code == 0
    base = Path("run/model").rename("base")
    ends = json.loads((base / "generation_config.json").read_text())["eos_token_id"]
    (base / "generation_config.json").unlink()
    (base / "model.safetensors").rename(base / "only.safetensors")
    index = {"weight_map": {"model.norm.weight": "only.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    table, _, stages = RECIPE.partition("[model]")
    stages = stages[stages.index("[[stage]]") :]
    Path("tune.toml").write_text(table + 'base = "base"\n' + stages)
    ended = run_xgen("train", "tune.toml", "--out", "tuned", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert json.loads(Path("tuned/model/config.json").read_text())["eos_token_id"] == ends
    assert load(Path("tuned/model"), device="cpu").end_ids == frozenset(ends)


def test_what_the_machine_or_the_base_cannot_do_is_said_before_the_run(
    recipes: Path, run_xgen, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    assert run_xgen("data", "build", "corpus.toml").code == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ended = run_xgen("train", "recipe.toml", "--out", "run", "--device", "cuda")
    assert (ended.code, "this machine has none" in ended.err) == (2, True)
    assert run_xgen("train", "recipe.toml", "--out", "run", "--device", "cpu").code == 0
    table, stages = RECIPE[: RECIPE.index("[model]")], RECIPE[RECIPE.index("[[stage]]") :]
    longer = (table + 'base = "run/model"\n' + stages).replace("= 512", "= 1024")
    Path("longer.toml").write_text(longer)
    ended = run_xgen("train", "longer.toml", "--out", "longer", "--device", "cpu")
    assert (ended.code, "rows of 1,024 tokens and its base a window of 512" in ended.err) == (2, True)
