"""The options that several verbs share, each declared once."""

from typing import Annotated, Literal

import typer

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help="Documents: PDF, HTML, DOCX, Markdown or plain text; folders and globs; - for standard input.",
    ),
]
Model = Annotated[
    str,
    typer.Option(metavar="NAME|FOLDER", help="A model by its name (`xgen models` lists them) or its folder."),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        show_default=False,
        help="A LoRA adapter of that model, as `xgen train` or peft saves it.",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute; auto takes a GPU if there is one."),
]
Dtype = Annotated[
    Literal["auto", "bf16", "fp16", "fp32", "int8"],
    typer.Option(
        help="The type to compute in; auto takes the one this machine is fastest in. int8: 8-bit weights, "
        "half the memory, computing in that type.",
    ),
]
Cache = Annotated[
    Literal["auto", "bf16", "fp16", "fp32", "int8"],
    typer.Option(
        help="The type to hold what was read in; int8 takes a quarter of auto's memory on a CPU, half of it "
        "on a GPU."
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Never touch the network; refuse if the model is not on disk.")
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache", help="Keep nothing of the documents on the disk, use nothing kept (`xgen cache`)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for scripts.")]
