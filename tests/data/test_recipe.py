from pathlib import Path

import pytest

from xgen.data.recipe import Caps, TokenizerSpec, load_recipe
from xgen.errors import BadRecipe

ROOT = Path(__file__).parent.parent.parent
GOOD = """
name = "small"
tokenizer = { vocab_size = 400 }
[caps]
text_mb = 3
set_share = { book = 0.3 }
[[source]]
name = "one"
kind = "wheel"
set = "prose"
packages = ["nikola==8.3.3"]
[[source]]
name = "two"
kind = "jsonl"
set = "chat"
paths = ["a.jsonl"]
groups = { tokens = 1024, contexts = [128, 512] }
"""


def load(folder: Path, text: str):  # type: ignore[no-untyped-def]
    (folder / "r.toml").write_text(text)
    return load_recipe(folder / "r.toml")


def test_a_recipe_is_read_into_frozen_values(tmp_path: Path) -> None:
    recipe = load(tmp_path, GOOD)
    assert recipe.tokenizer == TokenizerSpec(400)
    assert recipe.caps == Caps(text_mb=3.0, set_share={"book": 0.3})
    assert [spec.packages for spec in recipe.source] == [("nikola==8.3.3",), ()]
    assert recipe.source[1].groups.contexts == (128, 512)
    assert {spec.folder for spec in recipe.source} == {str(tmp_path.resolve())}
    assert load(tmp_path, GOOD.replace("{ vocab_size = 400 }", '"smollm2"')).tokenizer == "smollm2"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("packages", "package", "source one package: is not a key of a recipe"),
        ('"wheel"', '"wheels"', "source one kind: input should be 'debian'"),
        ("vocab_size", "size", "tokenizer"),
        ('name = "small"', "name = 3", "name: input should be a valid string"),
        ('"small"', '"../small"', "the name '../small' has other characters"),
        ('"two"', '"one"', "two sources are called one"),
        ('"prose"', '"prose.en"', "source one: the set 'prose.en' is not one word"),
        ("0.3", "1.3", "book = 1.3 is not a share between 0 and 1"),
        ("[128, 512]", "[512, 128]", "source two groups: value error, contexts must rise"),
        ('set = "prose"', 'set = "prose"\nfolder = "/"', "folder is not a key of a recipe"),
        ("[caps]", "[caps", "it is not TOML"),
        (
            'set = "prose"',
            'set = "prose"\nlanguage = "C++"',
            "the language 'C++' is not one word of small letters",
        ),
        ("text_mb = 3", "text_mb = nan", "text_mb = nan is no size"),
        ("text_mb = 3", "language_mb = { de = -1 }", "de = -1.0 is no size"),
        ("vocab_size = 400", "vocab_size = 400, sample_mb = 0", "sample_mb = 0.0 is no text to learn"),
        *(
            ("nikola==8.3.3", package, f"source one: the package {package!r} is not NAME or NAME==VERSION")
            for package in ("--pre", "/tmp/a", "./a", "a/b", "a @ git+https://h/a", "https://h/a.tar.gz", "")
        ),
    ],
)
def test_a_mistake_is_one_sentence_that_names_its_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(BadRecipe) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "r.toml"))


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="there is no such file"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(BadRecipe, match="it names no source"):
        load(tmp_path, 'name = "a"\ntokenizer = "smollm2"\nsource = []')
    with pytest.raises(BadRecipe, match="source"):
        load(tmp_path, 'name = "a"\ntokenizer = "smollm2"\nsource = 3')


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("corpus-*.toml")), ids=lambda path: path.stem)
def test_the_recipes_that_come_with_xgen_can_be_read(path: Path) -> None:
    assert load_recipe(path).source
