import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from xgen.data.document import Document
from xgen.data.ledger import by_licence, never_read, open_run, read_by_stage, rows_of_step, trace
from xgen.data.plan import StagePlan, StageSpec, plan_run
from xgen.data.shards import Corpus, open_corpus, write_corpus
from xgen.errors import BadCorpus, BadRecipe
from xgen.files import sha256_of

TOKENS_PER_STEP = 128
LICENCES = ("CC0-1.0", "MIT", "GPL-3+")


def bytes_tokenizer() -> dict[str, Any]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    table: dict[str, Any] = json.loads(made.to_str())
    return table


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpora") / "small"
    random = np.random.default_rng(0)
    with write_corpus(folder, "small", bytes_tokenizer(), {}) as writer:
        for name, n in (("prose.de", 40), ("code.py", 20), ("prose.de.held", 4)):
            for index in range(n):
                document = Document(
                    "text", f"source {index % 2}", f"{name}/{index}", LICENCES[index % 3], "de"
                )
                writer.add(name, document, random.integers(0, 256, int(random.integers(5, 120))))
        for index in range(10):
            document = Document("text", "talks", f"talk {index}", "MIT", "en")
            writer.add("chat.en", document, random.integers(0, 256, 20), trained=[0, 1] * 10, parts=[10, 10])
    return open_corpus(folder)


def stage(name: str, length: int, tokens: int, **mix: float) -> StageSpec:
    return StageSpec(
        name, length, tokens, {key.replace("_", "."): n for key, n in mix.items()}, 4.0, 0.0, 0.5
    )


STAGES = [
    stage("short", 32, 1_000, prose_de=1.0),
    stage("long", 64, 900, prose_de=2.0, code_py=1.0, chat_en=1.0),
]


@pytest.fixture(scope="module")
def plans(corpus: Corpus) -> tuple[StagePlan, ...]:
    return plan_run(corpus, STAGES, 7, TOKENS_PER_STEP)


def write_run(folder: Path, read: Corpus, **other: Any) -> Path:
    folder.mkdir(exist_ok=True)
    table = {
        "corpus": str(read.folder),
        "corpus_sha256": sha256_of(read.folder / "manifest.json"),
        "seed": 7,
        "tokens_per_step": TOKENS_PER_STEP,
        "stages": [asdict(stage) | {"learning_rate": {"peak": 1}} for stage in STAGES],
    }
    (folder / "run.json").write_text(json.dumps(table | other))
    return folder


def test_a_step_is_counted_from_one_over_all_stages(plans: tuple[StagePlan, ...]) -> None:
    short, long = plans
    assert (short.n_steps, long.n_steps) == (8, 8)
    assert rows_of_step(plans, 1) == (short, range(4))
    assert rows_of_step(plans, 8) == (short, range(28, 32))
    assert rows_of_step(plans, 9) == (long, range(2))
    assert rows_of_step(plans, 16) == (long, range(14, 16))
    for step in (0, 17):
        with pytest.raises(BadRecipe, match=f"step {step}: the run has steps 1 to 16"):
            rows_of_step(plans, step)


def test_law_the_tokens_that_a_trace_names_are_the_targets_of_the_rows(
    corpus: Corpus, plans: tuple[StagePlan, ...]
) -> None:
    """Every target of every row is found by the trace alone: the document by its id, the place in it."""
    places = {
        record.id: (tokens, index)
        for tokens in corpus.sets.values()
        for index, record in enumerate(tokens.documents())
    }
    for step in range(1, 17):
        plan, rows = rows_of_step(plans, step)
        read = trace(corpus, plan, rows)
        assert {one.row for one in read} == set(rows)
        for index in rows:
            row = plan.row(corpus, index)
            named: list[int] = []
            for one in read:
                if one.row != index:
                    continue
                tokens, document = places[one.id]
                assert (one.set, one.n_tokens) == (tokens.name, tokens.lengths[document])
                assert one.licence == LICENCES[document % 3] or one.set == "chat.en"
                assert one.source == f"source {document % 2}" or one.source == "talks"
                assert one.language == ("en" if one.set == "chat.en" else "de")
                ids = tokens.document(document)[one.start : one.end]
                if one.set == "chat.en":
                    ids = np.concatenate([ids[1:10:2], ids[11::2]])
                named += ids.tolist()
            targets = row.targets[(row.targets >= 0) & (row.targets != corpus.eot_id)]
            assert named == targets.tolist()


def test_licences_and_what_is_left_add_up(corpus: Corpus, plans: tuple[StagePlan, ...]) -> None:
    found = by_licence(corpus, plans)
    assert set(found) == set(LICENCES)
    assert [sum(column) for column in zip(*found.values(), strict=True)] == [
        sum(entry.positions for entry in read_by_stage(corpus, plan)) for plan in plans
    ]
    assert list(found) == sorted(found, key=lambda licence: -sum(found[licence]))
    nothing = never_read(corpus, ())
    assert nothing == {name: corpus.sets[name].n_tokens for name in ("chat.en", "code.py", "prose.de")}
    left = never_read(corpus, plans)
    read = {entry.set: entry for entry in read_by_stage(corpus, plans[1])}
    assert 0 <= nothing["code.py"] - left["code.py"] <= read["code.py"].positions
    assert left["chat.en"] == nothing["chat.en"] - 20 * read["chat.en"].documents
    both = read_by_stage(corpus, plans[0])[0].positions + read["prose.de"].positions
    whole = corpus.sets["prose.de"].n_tokens + 40
    assert left["prose.de"] == max(0, left["prose.de"])
    assert (left["prose.de"] == 0) == (both >= whole)


def test_a_run_is_opened_from_its_run_json_alone(
    tmp_path: Path, corpus: Corpus, plans: tuple[StagePlan, ...]
) -> None:
    _, again = open_run(write_run(tmp_path / "run", corpus))
    for a, b in zip(plans, again, strict=True):
        assert a.document.tolist() == b.document.tolist()
        assert a.offsets.tolist() == b.offsets.tolist()
    moved = write_run(tmp_path / "moved", corpus, corpus=str(tmp_path / "gone"))
    with pytest.raises(BadCorpus, match="gone: there is no corpus"):
        open_run(moved)
    assert open_run(moved, corpus.folder)[0].folder == corpus.folder


def test_a_run_that_cannot_be_traced_is_one_sentence(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(BadRecipe, match=r"it has no run\.json"):
        open_run(tmp_path)
    run = write_run(tmp_path / "run", corpus)
    for damage in ("", "[]", "{}", json.dumps({"corpus": str(corpus.folder)})):
        (run / "run.json").write_text(damage)
        with pytest.raises(BadRecipe, match="cannot be used"):
            open_run(run)
    write_run(tmp_path / "run", corpus, corpus_sha256="0" * 64)
    with pytest.raises(BadCorpus, match="not the corpus that"):
        open_run(run)


@pytest.mark.parametrize("other", [{"tokens_per_step": 100}, {"tokens_per_step": "x"}, {"seed": -1}])
def test_numbers_that_no_run_has_are_one_sentence(
    corpus: Corpus, tmp_path: Path, other: dict[str, Any]
) -> None:
    with pytest.raises(BadRecipe, match="no plan can be made of it"):
        open_run(write_run(tmp_path / "run", corpus, **other))
