"""`xgen export`: a model as a folder or a file that other programs read."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from xgen.cli.loading import require_model
from xgen.cli.options import Adapter, Json, Offline
from xgen.errors import XgenError
from xgen.show import note, print_json


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model by its name or its folder.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DST", show_default=False, help="The new folder, for transformers and vLLM."),
    ] = None,
    *,
    gguf: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False, help="A GGUF file instead, for llama.cpp and ollama."
        ),
    ] = None,
    dtype: Annotated[
        Literal["bf16", "fp16", "fp32", "q8_0"],
        typer.Option(help="The type of the weights; q8_0, of 8 bits, in a GGUF file only."),
    ] = "bf16",
    adapter: Adapter = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Write a model as a folder or a file that other programs read.

    An adapter is added to the weights. The model's licence goes with it: in card.json and README.md of a
    folder, in general.license of a GGUF file. docs/serving.md says how others serve it.
    """
    target = folder if gguf is None else gguf
    if target is None or (folder is not None and gguf is not None):
        raise XgenError("xgen export", "it writes one thing", "name a new folder, or a file by --gguf")
    if gguf is None and dtype == "q8_0":
        raise XgenError("--dtype q8_0", "it is a type of GGUF files", "name the file by --gguf")
    require_model(model, offline)
    from xgen.bundle.exporting import export_folder, export_gguf

    card = (export_folder if gguf is None else export_gguf)(model, target, dtype, adapter)
    if as_json:
        place = "folder" if gguf is None else "file"
        print_json({place: str(target), "name": card.name, "dtype": dtype, "licence": card.licence})
        return
    note(f"{card.name} as {dtype}, under {card.licence} ({card.licence_source}).")
    print(target)
