"""`xgen chat`: a conversation of several turns, about documents or about nothing in particular."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

import xgen
from xgen.cards import DEFAULT_TO_CHAT
from xgen.cli.documents import open_named, warn_of_languages
from xgen.cli.loading import require_model
from xgen.cli.options import Adapter, Cache, Device, Dtype, Model, NoCache, Offline
from xgen.cli.printing import harmless
from xgen.errors import XgenError
from xgen.show import note

if TYPE_CHECKING:
    from xgen.read.chat import Chat

HELP = "/file PATH adds a document, /reset forgets turns and documents, /quit or Ctrl-D ends."


System = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What the model is told before the first turn.", show_default=False),
]
Temperature = Annotated[
    float, typer.Option(metavar="T", help="0: the likeliest reply. Above: a draw, wilder with T.")
]
TopK = Annotated[int, typer.Option(metavar="K", help="Draw from the K likeliest tokens. 0: from all.")]
TopP = Annotated[
    float, typer.Option(metavar="P", help="Draw from the likeliest tokens whose shares make up P of 1.")
]
MinP = Annotated[
    float, typer.Option(metavar="P", help="Draw from tokens at least P times as likely as the likeliest.")
]
RepetitionPenalty = Annotated[
    float, typer.Option(metavar="X", help="Above 1: what a reply has said is less likely to be said again.")
]
Seed = Annotated[int, typer.Option(metavar="N", help="Of the draws; the same seed, the same replies.")]
Stop = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="End a reply before this text. May be repeated.", show_default=False),
]


def chat(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", show_default=False, help="Documents to talk about."),
    ] = None,
    *,
    system: System = None,
    temperature: Temperature = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Seed = 0,
    stop: Stop = None,
    model: Model = DEFAULT_TO_CHAT,
    adapter: Adapter = None,
    no_cache: NoCache = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    cache: Cache = "auto",
    offline: Offline = False,
) -> None:
    """Talk in several turns, about documents too.

    Each line of standard input is a turn.

    /file PATH adds a document, /reset forgets turns and documents, /help says this, /quit ends.
    """
    from xgen.engine.sample import Sampling

    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed)
    if not all(stop or ()):
        raise XgenError("--stop", "the text is empty", "write what a reply is to end before")
    documents = open_named(files, keep=not no_cache) if files else []
    _, card = require_model(model, offline)
    warn_of_languages(documents, card)
    reader = xgen.load(model, device=device, dtype=dtype, adapter=adapter, cache=cache)
    conversation = reader.chat(system=system, documents=documents, sampling=sampling, stops=stop or ())
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        note(HELP)
    for line in _turns(at_terminal):
        try:
            if not _take(line.strip(), conversation, keep=not no_cache):
                return
        except XgenError as error:
            if not at_terminal:
                raise
            note(f"xgen: {error}")


def _turns(at_terminal: bool) -> Iterator[str]:
    if not at_terminal:
        yield from sys.stdin
        return
    while True:
        try:
            yield input("> ")
        except EOFError:
            note("")
            return


def _take(line: str, conversation: "Chat", keep: bool) -> bool:
    """Take one turn or one command; False ends the conversation. `keep` as in `open_named`."""
    command, _, rest = line.partition(" ")
    match command:
        case "":
            pass
        case "/quit":
            return False
        case "/help":
            note(HELP)
        case "/reset":
            conversation.reset()
            note("Turns and documents are forgotten.")
        case "/file":
            _add_file(rest.strip(), conversation, keep)
        case _ if command.startswith("/"):
            raise XgenError(command, "there is no such command", HELP.rstrip("."))
        case _:
            for piece in conversation.send(line):
                sys.stdout.write(harmless(piece))
                sys.stdout.flush()
            sys.stdout.write("\n")
            sys.stdout.flush()
    return True


def _add_file(path: str, conversation: "Chat", keep: bool) -> None:
    if not path:
        raise XgenError("/file", "no file is named", "write /file PATH")
    for document in open_named([path], keep):
        conversation.add(document)
        note(f"{document.path} is part of the conversation now.")
