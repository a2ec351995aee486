"""`xgen models`: which models there are, what they may be used for, and which are on disk."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from xgen.cards import CARDS, Card, card, pulled_name
from xgen.cli.loading import is_on_disk, megabytes
from xgen.cli.options import Json
from xgen.cli.printing import print_table, print_text
from xgen.files import model_folder, shipped_file
from xgen.show import print_json


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", show_default=False, help="Show this one's whole card.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the models, or show one's card in full.

    The list says what each may be used for, how much it reads at once, and whether it is on disk.
    """
    chosen = list(CARDS.values()) if name is None else [card(name)]
    if as_json:
        print_json([_facts(one) for one in chosen] if name is None else _facts(chosen[0]))
    elif name is None:
        header = ["name", "licence", "commercial use", "window", "languages", "on disk", "size"]
        print_table(header, [_row(one) for one in chosen])
    else:
        print_text(_in_full(chosen[0]))


def _facts(one: Card) -> dict[str, Any]:
    return {**asdict(one), "on_disk": is_on_disk(one.name)}


def _row(one: Card) -> list[str]:
    return [
        one.name,
        one.licence,
        _yes_or_no(one.commercial_use),
        f"{one.window_tokens:,}",
        one.languages[0] if len(one.languages) == 1 else f"{len(one.languages)}",
        _yes_or_no(is_on_disk(one.name)),
        _size(one),
    ]


def _in_full(one: Card) -> str:
    folder = str(model_folder(pulled_name(one.name))) if is_on_disk(one.name) else "no"
    facts = {
        "name": f"{one.name} ({one.title})",
        "licence": one.licence,
        "stated in": one.licence_source,
        "commercial use": _yes_or_no(one.commercial_use),
        "languages": ", ".join(one.languages),
        "window": f"{one.window_tokens:,} tokens",
        "parameters": f"{one.n_parameters:,}",
        "read by default": one.default_read,
        "on disk": folder,
    }
    if shipped_file(one.name) is not None:
        facts["file"] = _size(one)
    elif one.source is None:
        facts["file"] = "cannot be pulled"
    else:
        facts["file"] = f"{one.source.file}, {megabytes(one.source.n_bytes)}, SHA-256 {one.source.sha256}"
    if (base := pulled_name(one.name)) != one.name:
        facts["adapts"] = f"{base}, by an adapter in the package"
    width = max(map(len, facts)) + 2
    return "\n".join(f"{key + ':':<{width}}{value}" for key, value in facts.items())


def _size(one: Card) -> str:
    shipped = shipped_file(one.name)
    if shipped is not None:
        return f"in the package, {megabytes(shipped.stat().st_size)}"
    return "not to be pulled" if one.source is None else megabytes(one.source.n_bytes)


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"
