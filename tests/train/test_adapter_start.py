"""Going on from an adapter: that a run begins as it was, and what it takes over from it."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xgen.cards import CARDS, write_card
from xgen.data.shards import Corpus
from xgen.errors import BadRecipe
from xgen.model.shape import SHAPES
from xgen.train import loop
from xgen.train.recipe import recipe_from
from xgen.train.start import card_of, write_outcome

from .conftest import begin_job, small_table

CORPUS: Any = SimpleNamespace(sets={})
ADAPTER = {"rank": 2, "alpha": 4.0}


@pytest.fixture(scope="module")
def base(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few steps."""
    out = tmp_path_factory.mktemp("base")
    job, run = begin_job(corpus, recipe_from(small_table("base", 1_024, 2, 32), "recipe"), out)
    assert loop.train(job, run)
    return write_outcome(job.recipe, job.shape, corpus, dict(run.weights.whole()), out)


def table_of(base: Path, seed: int, adapter: dict[str, Any]) -> dict[str, Any]:
    rate = {"peak": 0.01, "warmup_tokens": 0}
    stage = {"name": "one", "length": 64, "tokens": 2_048, "mix": {"prose.*": 1.0}, "learning_rate": rate}
    table = {"name": "tuned", "corpus": "small", "base": str(base), "tokens_per_step": 256, "dtype": "fp32"}
    return table | {"adapter": adapter, "stage": [stage], "seed": seed}


@pytest.fixture(scope="module")
def trained(corpus: Corpus, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of it after eight steps."""
    out = tmp_path_factory.mktemp("trained")
    job, run = begin_job(corpus, recipe_from(table_of(base, 0, ADAPTER), "recipe"), out)
    assert loop.train(job, run)
    return write_outcome(job.recipe, job.shape, corpus, dict(run.weights.whole()), out)


def test_a_run_begins_as_the_adapter_it_starts_from(
    corpus: Corpus, base: Path, trained: Path, tmp_path: Path
) -> None:
    """Whatever its seed, what it would write before its first step is that adapter."""
    said = {}
    for name, adapter in {"fresh": ADAPTER, "start": ADAPTER | {"start": str(trained)}}.items():
        job, run = begin_job(corpus, recipe_from(table_of(base, 7, adapter), "recipe"), tmp_path / name)
        outcome = write_outcome(job.recipe, job.shape, corpus, dict(run.weights.whole()), tmp_path / name)
        said[name] = (outcome / "adapter_model.safetensors").read_bytes()
    assert said["start"] == (trained / "adapter_model.safetensors").read_bytes() != said["fresh"]


def test_who_begins_with_other_weights_is_another_run(
    corpus: Corpus, base: Path, trained: Path, tmp_path: Path
) -> None:
    """Also where the folder has the same name."""
    start = tmp_path / "start"
    shutil.copytree(trained, start)
    recipe = recipe_from(table_of(base, 0, ADAPTER | {"start": str(start)}), "recipe")
    job, run = begin_job(corpus, recipe, tmp_path / "run")
    assert loop.train(job, run)
    later = write_outcome(job.recipe, job.shape, corpus, dict(run.weights.whole()), tmp_path / "run")
    shutil.copyfile(later / "adapter_model.safetensors", start / "adapter_model.safetensors")
    again, _ = begin_job(corpus, recipe, tmp_path / "again")
    assert job.identity != again.identity


def test_it_forbids_what_the_adapter_forbids(base: Path, trained: Path, tmp_path: Path) -> None:
    bound = tmp_path / "bound"
    shutil.copytree(trained, bound)
    write_card(CARDS["xgen-7b-8k-inst"], bound)
    recipe = recipe_from(table_of(base, 0, ADAPTER | {"start": str(bound)}), "recipe")
    assert card_of(recipe, SHAPES["tiny"], CORPUS).warning == CARDS["xgen-7b-8k-inst"].warning


@pytest.mark.parametrize(
    ("adapter", "says"),
    [
        ({"rank": 4, "alpha": 4.0}, "it has rank 2 and alpha 4, the recipe 4 and 4"),
        ({"rank": 2, "alpha": 8.0}, "it has rank 2 and alpha 4, the recipe 2 and 8"),
        ({"rank": 2, "alpha": 4.0, "start": "nobody"}, "nobody: there is no such adapter"),
    ],
)
def test_what_cannot_be_begun_with_is_said_in_a_sentence(
    corpus: Corpus, base: Path, trained: Path, tmp_path: Path, adapter: dict[str, Any], says: str
) -> None:
    recipe = recipe_from(table_of(base, 0, {"start": str(trained)} | adapter), "recipe")
    with pytest.raises(BadRecipe, match=says):
        begin_job(corpus, recipe, tmp_path)
