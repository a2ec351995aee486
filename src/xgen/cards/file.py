"""A card as card.json in the model's folder, read without believing it."""

import dataclasses
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from xgen.cards.fields import CARD_FILE, READS, Card, Source
from xgen.cards.stated import inherited, stated_card
from xgen.errors import BadModel
from xgen.files import write_whole

_LARGEST_CARD_BYTES = 1 << 16
# What may stand on a command line or become a name on the disk begins with a letter or a digit: never "-",
# never "..", and holds no separator.
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
HUB_ID = f"{_FILE_NAME}/{_FILE_NAME}"


def write_card(card: Card, folder: Path) -> None:
    """Write `card` as card.json into the model folder `folder`."""
    text = json.dumps(dataclasses.asdict(card), ensure_ascii=False, indent=2)
    write_whole(folder / CARD_FILE, (text + "\n").encode())


def read_card(folder: Path) -> Card:
    """Read card.json of a model folder; a folder without one gets what its README.md states.

    Raises BadModel if there is no such folder or if card.json is not exactly what `write_card` writes:
    every field there, no other one, each of its type; `warning` and `hub_id` alone may be missing, as
    in the cards of before they were known.
    """
    if not folder.is_dir():
        raise BadModel(str(folder), "there is no such folder", "name a folder that holds a model")
    path = folder / CARD_FILE
    if not path.exists():
        return stated_card(folder.resolve().name, _readme(folder))
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
    own = inherited(read_card(folder), base)
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


def _readme(folder: Path) -> str | None:
    """The beginning of a folder's README.md, if it has one that can be read."""
    try:
        with (folder / "README.md").open("rb") as file:
            return file.read(_LARGEST_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


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
        warning=_text(table["warning"], "warning") if table.get("warning", "") != "" else "",
        hub_id=_optional(partial(_match, HUB_ID), table.get("hub_id"), "hub_id"),
    )


def _parse_source(value: object, name: str) -> Source:
    table = _table(value, Source, f"'{name}'")
    source = Source(
        file=_match(_FILE_NAME, table["file"], "file"),
        n_bytes=_count(table["n_bytes"], "n_bytes"),
        sha256=_match("[0-9a-f]{64}", table["sha256"], "sha256"),
        hub_repo=_optional(partial(_match, HUB_ID), table["hub_repo"], "hub_repo"),
        hub_revision=_optional(partial(_match, "[0-9a-f]{40}"), table["hub_revision"], "hub_revision"),
        hub_file=_optional(partial(_match, _FILE_NAME), table["hub_file"], "hub_file"),
        wheels=tuple(_parse_wheel(pair) for pair in _list(table["wheels"], "wheels")),
    )
    if len({source.hub_repo is None, source.hub_revision is None, source.hub_file is None}) > 1:
        raise ValueError("'hub_repo', 'hub_revision' and 'hub_file' must be there together or not at all")
    return source


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
    needed = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    if missing := sorted(needed - set(value)):
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
