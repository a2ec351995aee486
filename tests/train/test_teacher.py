"""Learning from another model: that its word counts, that runs know it, that its terms bind."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from xgen.cards import read_card, write_card
from xgen.data.shards import Corpus
from xgen.errors import BadRecipe
from xgen.model.shape import SHAPES
from xgen.train import loop
from xgen.train.forecast import memory_per_rank, stage_forecasts
from xgen.train.recipe import recipe_from
from xgen.train.rows import step_rows
from xgen.train.start import card_of, write_outcome
from xgen.train.teacher import find_teacher, load_teacher

from .conftest import begin_job, small_table

CORPUS: Any = SimpleNamespace(sets={})


@pytest.fixture(scope="module")
def teacher(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model wider than those that learn from it, sure of itself, that knows nothing."""
    out = tmp_path_factory.mktemp("teacher")
    job, run = begin_job(corpus, recipe_from(small_table("teacher", 3_000, 1, 48), "recipe"), out)
    sure = {name: part * 6 for name, part in run.weights.whole()}
    return write_outcome(job.recipe, job.shape, corpus, sure, out)


def divergence(job: Any, run: Any, recipe: Any) -> float:
    """Mean KL of the teacher's next token from the model's over rows of the plan, nats."""
    told = load_teacher(recipe, job.shape, torch.device("cpu"))
    assert told is not None
    rows = step_rows(lambda index: job.plans[1].row(job.corpus, index), 0, 2, 2, job.world)
    batch = rows.batches[0]
    with torch.no_grad():
        hidden = run.model(batch.ids, batch.positions, mask=batch.packed).flatten(0, 1)
        taught = told.teach(batch)
        ours = run.model.logits(hidden).log_softmax(1)
        theirs = (taught.hidden_NU @ taught.weight_VU.t()).log_softmax(1)
    here = batch.targets.flatten() >= 0
    return float(
        torch.nn.functional.kl_div(ours, theirs, log_target=True, reduction="none").sum(1)[here].mean()
    )


def test_who_learns_from_a_teacher_alone_comes_to_say_what_it_says(
    corpus: Corpus, recipe_table: Any, teacher: Path, tmp_path: Path
) -> None:
    """Though it says other things than the data, which alone would lead away from it."""
    far = {}
    taught = recipe_from(recipe_table(teacher={"model": str(teacher), "share": 1.0}), "recipe")
    for name, recipe in {"alone": recipe_from(recipe_table(), "recipe"), "taught": taught}.items():
        job, run = begin_job(corpus, recipe, tmp_path / name)
        before = divergence(job, run, taught)
        assert loop.train(job, run)
        far[name] = divergence(job, run, taught)
    assert far["taught"] < 0.8 * before < 1.3 * before < far["alone"]


def test_a_run_with_a_teacher_is_another_run_and_needs_its_memory_and_time(
    corpus: Corpus, recipe_table: Any, teacher: Path, tmp_path: Path
) -> None:
    plain, _ = begin_job(corpus, recipe_from(recipe_table(), "recipe"), tmp_path)
    table = recipe_table(teacher={"model": str(teacher)})
    taught, _ = begin_job(corpus, recipe_from(table, "recipe"), tmp_path)
    assert plain.identity != taught.identity
    more, less = (memory_per_rank(job.recipe, job.shape, 2).state for job in (taught, plain))
    assert more - less == 4 * read_card(teacher).n_parameters
    times = [sum(one.h100_hours for one in stage_forecasts(j.recipe, j.shape)) for j in (taught, plain)]
    assert times[0] > times[1]


def test_what_a_teacher_forbids_its_pupil_does_too(recipe_table: Any, teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((teacher / "config.json").read_bytes())
    write_card(dataclasses.replace(read_card(teacher), licence="research only"), tmp_path)
    card = {"licence": "MIT", "commercial_use": "yes"}
    recipe = recipe_from(recipe_table(teacher={"model": str(tmp_path)}, card=card), "recipe")
    made = card_of(recipe, SHAPES["tiny"], CORPUS)
    assert (made.licence, made.commercial_use) == ("MIT; teacher: research only", False)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "nobody"}, "nobody: the teacher is not on the disk"),
        ({"share": 0.0}, "teacher.share: Input should be greater than 0"),
        ({"share": 1.5}, "teacher.share: Input should be less than or equal to 1"),
        ({"adapter": "nobody"}, "nobody: there is no such adapter"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    recipe_table: Any, teacher: Path, fields: dict[str, Any], says: str
) -> None:
    def find() -> None:
        recipe = recipe_from(recipe_table(teacher={"model": str(teacher)} | fields), "recipe")
        assert recipe.teacher is not None
        find_teacher(recipe.teacher)

    with pytest.raises(BadRecipe, match=says):
        find()


def test_a_teacher_of_other_ids_or_a_shorter_window_is_refused(
    corpus: Corpus, recipe_table: Any, teacher: Path
) -> None:
    table = recipe_table(teacher={"model": str(teacher)})
    recipe = recipe_from(table, "recipe")
    table["stage"][1]["length"] = 256
    table["model"]["max_seq_len"] = 256
    shape = dataclasses.replace(SHAPES["tiny"], vocab_size=320)
    with pytest.raises(BadRecipe, match="rows of 256 tokens and the teacher a window of 128"):
        load_teacher(recipe_from(table, "recipe"), shape, torch.device("cpu"))
    with pytest.raises(BadRecipe, match=r"the teacher has 320 ids and the model 512"):
        load_teacher(recipe, SHAPES["tiny"], torch.device("cpu"))
