"""`xgen import`: a published model on this disk made into an ordinary folder of ours."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from xgen.cards import CARDS
from xgen.cli.options import Json
from xgen.errors import BadModel
from xgen.show import note, print_json

Named = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        show_default=False,
        help="Which known model it is, where the folder's name does not say it: " + ", ".join(CARDS) + ".",
    ),
]
Stored = Annotated[
    Literal["bf16", "fp16", "fp32"] | None,
    typer.Option(show_default=False, help="The type to keep it in: its own if that has 16 bits, else bf16."),
]


def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A folder with config.json, weights and tokenizer.")
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The new model folder.")],
    *,
    dtype: Stored = None,
    named: Named = None,
    as_json: Json = False,
) -> None:
    """Make a published model's folder into one of ours.

    Reads safetensors and pytorch_model*.bin, without running what a pickle may run, of Llama's family and
    Qwen2; XGen's tokenizer, or a byte-level BPE's tokenizer.json. Tensors are converted one at a time; an
    import that was stopped goes on where it was.
    """
    if not source.is_dir():
        what = "it is not a folder" if source.exists() else "there is no such folder"
        raise BadModel(str(source), what, "name the folder that holds config.json and the weights")
    from xgen.bundle.importing import import_model

    card = import_model(source, target, dtype, named, quiet=as_json)
    if as_json:
        print_json({"name": card.name, "folder": str(target), "licence": card.licence})
        return
    commercial = "commercial use allowed" if card.commercial_use else "no commercial use"
    note(f"{card.name}: {card.licence}, {commercial} ({card.licence_source}).")
    print(target)
