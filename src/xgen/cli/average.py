"""`xgen average`: one adapter out of several that were trained from the same weights."""

from pathlib import Path
from typing import Annotated

import typer

from xgen.cli.loading import require_model
from xgen.cli.options import Json, Offline
from xgen.errors import XgenError
from xgen.show import note, print_json


def average(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model that they change, by name or folder.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DST", help="The new adapter's folder.")],
    adapters: Annotated[list[Path], typer.Argument(metavar="ADAPTER...", help="Folders of adapters.")],
    *,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Write the mean of adapters as one, of the first one's rank.

    Runs of other seeds or mixes that began at the same model read together as they do alone, and forget
    less; the answer costs what one costs. Its licence is no wider than that of any of them.
    """
    if len(adapters) < 2:
        raise XgenError("xgen average", "one adapter has no mean", "name two or more")
    if folder.exists():
        raise XgenError(str(folder), "it is there already", "name a new folder")
    require_model(model, offline)
    from xgen.bundle.averaging import average_adapters

    card = average_adapters(model, adapters, folder)
    if as_json:
        print_json(
            {"folder": str(folder), "name": card.name, "licence": card.licence, "adapters": len(adapters)}
        )
        return
    note(f"{len(adapters)} adapters averaged, under {card.licence} ({card.licence_source}).")
    print(folder)
