"""`xgen models`: which models there are, what they may be used for, and which are on disk."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from xgen.cards import (
    CARDS,
    UNKNOWN_LICENCE,
    XGEN_ANSWER,
    Card,
    Use,
    allows,
    card,
    pulled_name,
    read_card,
    stated_card,
    why,
)
from xgen.cli.loading import as_kept, is_on_disk, megabytes
from xgen.cli.options import Json
from xgen.cli.printing import print_table, print_text
from xgen.errors import BadModel, XgenError
from xgen.files import cache_folder, model_folder, shipped_file
from xgen.show import print_json

_ALLOWS = {True: "commercial use", False: "research only", None: "not known"}
_DAMAGED = f"{UNKNOWN_LICENCE}, its card is damaged"
_MARKS = {True: "allowed", False: "not_allowed", None: "unknown"}


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME|FOLDER", show_default=False, help="Show this one's whole card."),
    ] = None,
    *,
    use: Annotated[
        Use | None,
        typer.Option(show_default=False, help="Say which may be used so, and why not the others."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the models and what each may be used for, or show one's card in full.

    The known ones, and those of your own among the pulled ones. The lines below the list say where each
    licence is stated. A model without a stated licence, or with a damaged card, is never listed as allowed.
    """
    if name is not None and use is not None:
        raise XgenError("--use", "it asks about all models", f"leave {name} out, or --use")
    if use is not None:
        _answer(use, _all(), as_json)
    elif name is not None:
        one, folder = _one(name), _folder(name)
        on_disk = {"on_disk": folder is not None}
        print_json(_facts(one) | on_disk) if as_json else print_text(_in_full(one, folder))
    else:
        listed = _all()
        print_json([_facts(one) for one in listed]) if as_json else _list(listed)


def _all() -> list[Card]:
    return [*(_or_damaged(known, partial(as_kept, known)) for known in CARDS.values()), *_strangers()]


def _one(name: str) -> Card:
    if name in CARDS:
        return as_kept(card(name))
    if Path(name).is_dir():
        return read_card(Path(name))
    if "/" in name and is_on_disk(name):
        return replace(read_card(model_folder(name)), name=name)
    return card(name)


def _folder(name: str) -> Path | None:
    """Where the model lies that somebody names, if it does."""
    if name not in CARDS and Path(name).is_dir():
        return Path(name)
    return model_folder(pulled_name(name)) if is_on_disk(name) else None


def _strangers() -> list[Card]:
    """The cards of the models on disk that are not among the known ones, by the names they have here."""
    kept = cache_folder() / "models"  # those of the hub lie there as OWNER--NAME
    found = sorted(path.parent for path in kept.glob("[!.]*/config.json"))
    names = {folder: folder.name.replace("--", "/", 1) for folder in found if folder.name not in CARDS}
    return [
        replace(_or_damaged(stated_card(name, None), partial(read_card, folder)), name=name)
        for folder, name in names.items()
    ]


def _or_damaged(otherwise: Card, read: Callable[[], Card]) -> Card:
    """The card that is read; of a damaged one what is known without it, and what is wrong with it.

    One damaged file does not keep the other models from being listed, and allows nothing.
    """
    try:
        return read()
    except BadModel as error:
        return replace(
            otherwise, licence=_DAMAGED, licence_source=str(error).removesuffix("."), commercial_use=False
        )


def _list(listed: list[Card]) -> None:
    header = ["name", "parameters", "window", "languages", "licence", "allows", "on disk", "size"]
    print_table(header, [_row(one) for one in listed])
    stated = "".join(f"\n  {one.name}: {one.licence_source}" for one in listed)
    warned: dict[str, list[str]] = {}
    for one in listed:
        if one.warning:
            warned.setdefault(one.warning, []).append(one.name)
    warnings = "".join(f"\n\nWarning, {', '.join(names)}: {text}." for text, names in warned.items())
    print_text(f"\nWhere the licence is stated:{stated}{warnings}")


def _answer(use: Use, listed: list[Card], as_json: bool) -> None:
    groups = {mark: [one for one in listed if allows(one, use) is mark] for mark in (True, False, None)}
    if as_json:
        answer = {
            _MARKS[mark]: [
                {
                    "name": one.name,
                    "why": why(one, use),
                    "licence": one.licence,
                    "licence_source": one.licence_source,
                    "warning": one.warning,
                }
                for one in group
            ]
            for mark, group in groups.items()
        }
        print_json({"use": use, "answer": XGEN_ANSWER, **answer})
        return
    said = "commercially" if use == "commercial" else "for research"
    heads = {True: f"May be used {said}:", False: f"May not be used {said}:", None: "Not known:"}
    lines = []
    for mark, group in groups.items():
        if group:
            width = max(len(one.name) for one in group) + 2
            lines += [heads[mark], *(f"  {one.name:<{width}}{why(one, use)}" for one in group), ""]
    warnings = dict.fromkeys(one.warning for one in listed if one.warning)
    lines += [f"{XGEN_ANSWER}.", *(f"Warning: {text}." for text in warnings)]
    lines += ["A model whose licence is not known is never among the allowed ones."]
    print_text("\n".join(lines))


def _facts(one: Card) -> dict[str, Any]:
    return {
        **asdict(one),
        "damaged": one.licence == _DAMAGED,
        "on_disk": is_on_disk(one.name),
        "allows": _ALLOWS[allows(one, "commercial")],
    }


def _row(one: Card) -> list[str]:
    return [
        one.name,
        f"{one.n_parameters:,}",
        f"{one.window_tokens:,}",
        one.languages[0] if len(one.languages) == 1 else f"{len(one.languages)}",
        one.licence,
        _ALLOWS[allows(one, "commercial")],
        "yes" if is_on_disk(one.name) else "no",
        _size(one),
    ]


def _in_full(one: Card, folder: Path | None) -> str:
    facts = {
        "name": f"{one.name} ({one.title})",
        "licence": one.licence,
        "stated in": one.licence_source,
        "allows": _ALLOWS[allows(one, "commercial")],
        "languages": ", ".join(one.languages) or "not recorded",
        "window": f"{one.window_tokens:,} tokens",
        "parameters": f"{one.n_parameters:,}",
        "read by default": one.default_read,
        "on disk": "no" if folder is None else str(folder),
    }
    if one.warning:
        facts["warning"] = one.warning
    if one.hub_id:
        facts["published as"] = f"{one.hub_id} on the Hugging Face hub"
    if shipped_file(one.name) is not None:
        facts["file"] = _size(one)
    elif one.source is None:
        facts["file"] = f"as published on the hub, {one.hub_id}" if one.hub_id else "cannot be pulled"
    else:
        facts["file"] = f"{one.source.file}, {megabytes(one.source.n_bytes)}, SHA-256 {one.source.sha256}"
    if (base := pulled_name(one.name)) != one.name:
        facts["adapts"] = f"{base}, by an adapter in the package"
    facts |= _memory(one)
    width = max(map(len, facts)) + 2
    return "\n".join(f"{key + ':':<{width}}{value}" for key, value in facts.items())


def _memory(one: Card) -> dict[str, str]:
    """What the whole window takes, by how the model is held; nothing where its sizes are not known."""
    from xgen.model.memory import needed, settings
    from xgen.model.shape import SHAPES

    name = pulled_name(one.name)
    found = [shape for known, shape in SHAPES.items() if name == known or name.startswith(f"{known}-")]
    if not found and (model_folder(name) / "config.json").is_file():
        from xgen.formats.folder import read_shape

        found = [read_shape(model_folder(name) / "config.json")]
    if not found:
        return {}
    shape = replace(found[0], max_seq_len=one.window_tokens or found[0].max_seq_len)
    window = {str(held): needed(shape, held, shape.max_seq_len).total for held in settings("bf16")}
    return {f"memory, {held}": f"{n_bytes / 1e9:.1f} GB" for held, n_bytes in window.items()}


def _size(one: Card) -> str:
    shipped = shipped_file(one.name)
    if shipped is not None:
        return f"in the package, {megabytes(shipped.stat().st_size)}"
    if one.source is None:
        return "as on the hub" if one.hub_id else "not to be pulled"
    return megabytes(one.source.n_bytes)
