"""A corpus recipe: which sources, how much of what, which tokenizer. TOML at the edge, frozen inside."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from xgen.data.chats import held_back
from xgen.data.groups import GroupOptions
from xgen.errors import BadRecipe
from xgen.text.bpe import MIN_VOCAB_SIZE

Kind = Literal["debian", "wheel", "npm", "git", "jsonl", "parquet", "folder", "chats", "descriptions"]
T = TypeVar("T")

# XGen's own; the languages that are kept where a recipe names none.
LANGUAGES = (
    *("bg", "ca", "cs", "da", "de", "en", "es", "fr", "hr", "hu", "it"),
    *("ja", "nl", "pl", "pt", "ro", "ru", "sl", "sr", "sv", "uk", "zh"),
)
CODE = "code"  # the set whose languages are programming languages
# Documents with questions: people's, and apart from them, so that a mix can weigh them, those of SQuAD, in
# traditional characters, and further ones; beside their kin, made by code, tables made by code, by a model.
GROUPS = frozenset({"group", "squad", "trad", "more", "kin", "made", "tables", "written"})
TUNING_SETS = GROUPS | {"chat"}  # conversations: never filtered as prose, counted apart

_WAY_OUT = "see the recipes that come with xgen for how one is written"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SET = re.compile(r"[a-z]+")
LANGUAGE = re.compile(r"[a-z0-9_+-]+")  # a word that the name of a set can end with: py, c++
# Clients take options, folders and addresses too, and pip runs the code of what it finds there.
_PACKAGE = re.compile(r"(?:@[\w.-]+/)?[A-Za-z0-9][\w.+-]*(?:==[A-Za-z0-9][\w.+:~-]*)?", re.ASCII)


@dataclass(frozen=True)
class SourceSpec:
    """One `[[source]]` of a corpus recipe: where documents come from and what they are.

    `packages` are "NAME" or "NAME==VERSION"; `paths` (jsonl, parquet, folder, chats) are relative to the
    recipe's folder; `take` and `leave` are globs of paths inside a package or repository. `language`
    fixes a language, else paths tell it; `languages` keeps only these. `fields` maps text, id, licence
    and language to the names they have in a jsonl or parquet file. `groups` says how questions are packed.
    """

    name: str
    kind: Kind
    set: str
    packages: tuple[str, ...] = ()
    url: str = ""
    commit: str = ""
    paths: tuple[str, ...] = ()
    take: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    format: str = ""
    language: str = ""
    languages: tuple[str, ...] = ()
    licence: str = ""
    licence_source: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    max_mb_per_package: float | None = None
    groups: GroupOptions = field(default_factory=GroupOptions)
    folder: str = ""  # the recipe's own, filled in by `load_recipe`

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True)
class TokenizerSpec:
    """A byte-level BPE to be learned: how many ids, and from how much text (MB)."""

    vocab_size: int
    sample_mb: float = 120.0

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True)
class Caps:
    """How much is kept, in MB (10^6 UTF-8 bytes) of text after cleaning. None: all there is.

    `text_mb` is shared out among the natural languages by bytes**temperature, and what a language cannot
    fill goes to the others; `language_mb` sets a language's cap by hand. `code_mb` likewise among the
    programming languages. `package_mb` bounds one package of code. `set_share` bounds a kind of set
    ("book" = 0.33) within each language's cap.
    """

    text_mb: float | None = None
    code_mb: float | None = None
    temperature: float = 0.5
    package_mb: float | None = None
    language_mb: dict[str, float] = field(default_factory=dict)
    set_share: dict[str, float] = field(default_factory=dict)

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True)
class CorpusRecipe:
    """A whole corpus recipe. `tokenizer` is one to be learned, or a model's name or folder.

    `languages` (ISO 639-1) are kept, other natural languages are not. `held_back` is a JSON file, relative
    to the recipe, that lists documents of tuning sets which no training may see (data/chats.py).
    """

    name: str
    tokenizer: TokenizerSpec | str
    source: tuple[SourceSpec, ...]
    held_out_share: float = 0.01
    caps: Caps = Caps()
    languages: tuple[str, ...] = LANGUAGES
    held_back: str = ""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


def load_recipe(path: Path) -> CorpusRecipe:
    """Read and check a corpus recipe; BadRecipe names the first thing that is wrong with it."""
    data = read_toml(path)
    entries = data.get("source")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            if "folder" in entry:
                raise BadRecipe(str(path), "source: folder is not a key of a recipe", "say `paths`")
            entry["folder"] = str(path.parent.resolve())
    recipe = validated(CorpusRecipe, data, str(path))
    wrong = _fault(recipe)
    if wrong:
        raise BadRecipe(str(path), wrong, _WAY_OUT)
    return recipe


def held_back_ids(recipe: CorpusRecipe) -> frozenset[str]:
    """The ids of tuning documents that no training may see."""
    return held_back(Path(recipe.source[0].folder) / recipe.held_back) if recipe.held_back else frozenset()


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; BadRecipe if it is not there or not TOML."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise BadRecipe(str(path), "there is no such file", "name a recipe, a .toml file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(str(path), f"it is not TOML ({error})", _WAY_OUT) from error


def validated(kind: type[T], data: dict[str, Any], where: str) -> T:
    """`data` as the dataclass `kind`; unknown keys and wrong types are one sentence of BadRecipe."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = _place(first["loc"], data)
        what = "is not a key of a recipe" if first["type"] == "unexpected_keyword_argument" else first["msg"]
        raise BadRecipe(where, f"{place}: {what[:1].lower() + what[1:]}", _WAY_OUT) from error


def _place(loc: tuple[int | str, ...], data: Any) -> str:
    """Where in a recipe, in words: a table of a list is called by its name, if it has one."""
    words: list[str] = []
    for step in loc:
        try:
            data = data[step]
        except (LookupError, TypeError):
            data = None
        if isinstance(step, int):
            words.append(str(data["name"]) if isinstance(data, dict) and "name" in data else str(step + 1))
        else:
            words.append(step)
    return " ".join(words) or "recipe"


def _fault(recipe: CorpusRecipe) -> str | None:
    """What types alone cannot say: names that can be file names, no source twice, shares that are shares."""
    names = [spec.name for spec in recipe.source]
    for name in [recipe.name, *names]:
        if not _NAME.fullmatch(name):
            return f"the name {name!r} has other characters than a-z, 0-9, dot, - and _"
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"two sources are called {twice[0]}"
    for spec in recipe.source:
        if not _SET.fullmatch(spec.set):
            return f"source {spec.name}: the set {spec.set!r} is not one word of a-z"
        if spec.language and not LANGUAGE.fullmatch(spec.language):
            return f"source {spec.name}: the language {spec.language!r} is not one word of small letters"
        if strange := [package for package in spec.packages if not _PACKAGE.fullmatch(package)]:
            return f"source {spec.name}: the package {strange[0]!r} is not NAME or NAME==VERSION"
    shares = {"held_out_share": recipe.held_out_share, **recipe.caps.set_share}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            return f"{name} = {share} is not a share between 0 and 1"
    caps = recipe.caps
    sizes = {"text_mb": caps.text_mb, "code_mb": caps.code_mb, "package_mb": caps.package_mb}
    for name, size in {**sizes, **caps.language_mb, "temperature": caps.temperature}.items():
        if size is not None and not 0 <= size < float("inf"):
            return f"{name} = {size} is no size"
    learned = recipe.tokenizer
    if isinstance(learned, TokenizerSpec) and not learned.sample_mb > 0:
        return f"sample_mb = {learned.sample_mb} is no text to learn a tokenizer from"
    if isinstance(learned, TokenizerSpec) and learned.vocab_size < MIN_VOCAB_SIZE:
        return (
            f"a vocabulary of {learned.vocab_size} is smaller than {MIN_VOCAB_SIZE}, the bytes and the marks"
        )
    return None if recipe.source else "it names no source"
