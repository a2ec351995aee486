"""`xgen pull`: bring a model onto this disk, once."""

from pathlib import Path
from typing import Annotated

import typer

import xgen
from xgen.cards import card, pulled_name
from xgen.cli.loading import is_on_disk
from xgen.cli.options import Json
from xgen.errors import BadModel
from xgen.files import model_folder
from xgen.show import note, print_json


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `xgen models` lists.")],
    *,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", show_default=False, help="Take this GGUF file; no network."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a model onto this disk, once.

    Its digest is checked before anything is read from it. An interrupted pull goes on where it was; a
    second one is instant.
    """
    wanted = card(name)
    if from_file is not None and not from_file.is_file():
        what = "it is not a file" if from_file.exists() else "there is no such file"
        raise BadModel(str(from_file), what, "name a GGUF file, or leave --from out")
    # Looked up here first, since importing what pulls takes seconds.
    here = is_on_disk(wanted.name)
    folder = (
        model_folder(pulled_name(wanted.name)) if here else xgen.pull(wanted.name, from_file, quiet=as_json)
    )
    if here and from_file is not None:
        note(f"{wanted.name} is on disk already; {from_file} was not used.")
    if as_json:
        print_json({"name": wanted.name, "folder": str(folder), "licence": wanted.licence})
        return
    commercial = "commercial use allowed" if wanted.commercial_use else "no commercial use"
    note(f"{wanted.name} is on disk ({wanted.licence}, {commercial}).")
    print(folder)
