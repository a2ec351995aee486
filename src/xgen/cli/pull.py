"""`xgen pull`: bring a model onto this disk, once."""

from pathlib import Path
from typing import Annotated

import typer

import xgen
from xgen.cards import Card, card, pulled_name, read_card
from xgen.cli.import_ import Named, Stored
from xgen.cli.loading import is_on_disk
from xgen.cli.options import Json
from xgen.errors import BadModel, XgenError
from xgen.files import model_folder
from xgen.hub import Published, published_id
from xgen.show import note, print_json


def pull(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A name that `xgen models` lists, or OWNER/NAME of the hub."),
    ],
    *,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", show_default=False, help="Take this GGUF file; no network."),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION",
            show_default=False,
            help="The hub's commit, tag or branch; by default the main one.",
        ),
    ] = None,
    named: Named = None,
    dtype: Stored = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Bring it also where this machine has too little memory for it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring a model onto this disk, once.

    Its digest is checked before anything is read from it. An interrupted pull goes on where it was; a
    second one is instant. A model that comes as its makers published it (XGen's, or any of Llama's family
    or Qwen2 on the hub) is brought at one commit, and made into a folder of ours.
    """
    if (hub_id := published_id(name)) is not None:
        if from_file is not None:
            way_out = "bring a folder of its files over with `xgen import`"
            raise XgenError("--from", f"{name} is not brought as a GGUF file", way_out)
        folder = _published(Published(hub_id, revision, dtype, named), anyway, quiet=as_json)
        _tell(read_card(folder), folder, as_json)
        return
    for option, value in (("--revision", revision), ("--as", named), ("--dtype", dtype)):
        if value is not None:
            raise XgenError(option, f"{name} is one file, known by its digest", f"leave {option} out")
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
    _tell(wanted, folder, as_json)


def _published(wanted: Published, anyway: bool, quiet: bool) -> Path:
    if wanted.revision is None and is_on_disk(wanted.name):
        return model_folder(wanted.name)
    from xgen.bundle.published import pull_published

    return pull_published(wanted, anyway, quiet)


def _tell(brought: Card, folder: Path, as_json: bool) -> None:
    if as_json:
        print_json({"name": brought.name, "folder": str(folder), "licence": brought.licence})
        return
    commercial = "commercial use allowed" if brought.commercial_use else "no commercial use"
    note(f"{brought.name} is on disk ({brought.licence}, {commercial}).")
    print(folder)
