"""A recipe of made questions: of which texts, how many documents of which kind in which language."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from xgen.data.chats import held_back
from xgen.data.made.kinds import KINDS, Written, languages_of, write_kind
from xgen.data.made.texts import Text, texts_of_corpus, texts_of_lines
from xgen.data.recipe import read_toml, validated
from xgen.errors import BadRecipe
from xgen.files import cache_folder

_WAY_OUT = "mend it; docs/train.md has a recipe of made questions"


@dataclass(frozen=True)
class MadeRecipe:
    """`pages` says by kind and language how many documents to make, of the texts of corpora and files.

    `corpora` are folders, or names in the cache. `files` are JSON lines with the licence of those lines that
    state none. Paths are relative to the recipe's folder. No document named in `held_back` is read.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    pages: dict[str, dict[str, int]]
    corpora: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    held_back: str = ""
    seed: int = 0


def load_made_recipe(path: Path) -> MadeRecipe:
    """Read and check a recipe; BadRecipe names the first thing that is wrong with it."""
    recipe = validated(MadeRecipe, read_toml(path), str(path))
    for kind, languages in recipe.pages.items():
        if kind not in KINDS:
            raise BadRecipe(str(path), f"pages: there is no kind {kind}", f"the kinds are {', '.join(KINDS)}")
        known = languages_of(kind)
        for language, n_pages in languages.items():
            if known and language not in known:
                way_out = f"its languages are {', '.join(known)}"
                raise BadRecipe(str(path), f"pages.{kind}: there are no words in {language}", way_out)
            if n_pages < 0:
                raise BadRecipe(str(path), f"pages.{kind}.{language}: {n_pages} is below 0", _WAY_OUT)
    return recipe


def write_questions(path: Path, out: Path) -> Iterator[Written]:
    """Write OUT/KIND-LANGUAGE.jsonl.gz by the recipe at `path`, each file whole, and yield what was written.

    The same recipe and texts give the same bytes. BadRecipe if a text is missing or a kind finds nothing.
    """
    recipe = load_made_recipe(path)
    held = held_back(path.parent / recipe.held_back) if recipe.held_back else frozenset()
    texts: dict[str, list[Text]] = {}
    for text in _texts(recipe, path.parent, held):
        texts.setdefault(text.language, []).append(text)
    out.mkdir(parents=True, exist_ok=True)
    for kind, languages in recipe.pages.items():
        for language, n_pages in languages.items():
            written = write_kind(kind, language, texts, n_pages, recipe.seed, out)
            if written is None and n_pages:
                what = f"pages.{kind}.{language}: its texts give no such question"
                raise BadRecipe(str(path), what, f"name texts in {language}, or take it out")
            if written is not None:
                yield written


def _texts(recipe: MadeRecipe, folder: Path, held: frozenset[str]) -> Iterator[Text]:
    for name in recipe.corpora:
        named = cache_folder() / "corpora" / name
        yield from texts_of_corpus(
            named if "/" not in name and named.is_dir() else folder / name, recipe.seed
        )
    for name, licence in recipe.files.items():
        yield from texts_of_lines(folder / name, licence, held)
