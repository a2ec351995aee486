from pathlib import Path

import pytest

from xgen.errors import BadRecipe
from xgen.train.recipe import load_recipe, recipe_from

RECIPES = [
    path
    for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    if "[[stage]]" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem


def test_every_stage_takes_the_same_tokens_a_step(recipe_table) -> None:
    recipe = recipe_from(recipe_table(), "here")
    assert {recipe.rows_per_step(stage) * stage.length for stage in recipe.stages} == {256}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tokens_per_step": 100}, "not a multiple of the length 64 of stage short"),
        ({"tokens_per_stop": 1}, "tokens_per_stop"),
        ({"base": "smollm2"}, "either a [model] shape or the base"),
        ({"model": None}, "either a [model] shape or the base"),
        ({"adapter": {"rank": 8, "alpha": 16}}, "an [adapter] needs a base"),
        ({"stage": []}, "stage"),
        ({"name": "../up"}, "name"),
        ({"dtype": "int8"}, "dtype"),
        ({"tokens_per_step": True}, "tokens_per_step: Input should be a valid integer"),
        ({"optimizer": {"clip": float("inf")}}, "optimizer.clip: Input should be a finite number"),
        ({"seed": 1 << 63}, "seed"),
        ({"card": {"titel": "x"}}, "card.titel"),
    ],
)
def test_a_mistake_is_named_in_one_sentence(recipe_table, fields, words) -> None:
    with pytest.raises(BadRecipe) as caught:
        recipe_from(recipe_table(**fields), "recipe.toml")
    assert str(caught.value).startswith("recipe.toml: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_longer_than_the_window_is_refused(recipe_table) -> None:
    table = recipe_table()
    table["stage"][1]["length"] = 256
    with pytest.raises(BadRecipe, match=r"stage long is longer than the model's 128"):
        recipe_from(table, "recipe.toml")


def test_heads_that_do_not_share_keys_are_refused(recipe_table) -> None:
    table = recipe_table()
    table["model"]["n_kv_heads"] = 3
    with pytest.raises(BadRecipe, match="do not share"):
        recipe_from(table, "recipe.toml")


@pytest.mark.parametrize("text", ["name = ", "\xff"])
def test_a_file_that_is_no_toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadRecipe, match=r"recipe\.toml: it cannot be read"):
        load_recipe(path)
    with pytest.raises(BadRecipe, match="there is no such file"):
        load_recipe(tmp_path / "other.toml")
