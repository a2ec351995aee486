"""`xgen read`: summaries and answers from documents, with their evidence."""

import sys
from collections.abc import Callable
from itertools import chain, repeat
from typing import Annotated, Literal

import typer

import xgen
from xgen.cards import DEFAULT_TO_READ
from xgen.cli.documents import open_named, warn_of_languages
from xgen.cli.loading import require_model
from xgen.cli.options import Adapter, Cache, Device, Dtype, Files, Json, Model, NoCache, Offline
from xgen.cli.printing import print_text
from xgen.errors import XgenError
from xgen.read.answer import MAX_ANSWER_TOKENS
from xgen.show import print_json


def read(
    files: Files,
    *,
    ask: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A question; may be given many times.", show_default=False),
    ] = None,
    summarize: Annotated[
        bool, typer.Option("--summarize", help="Summarize; what happens anyway if nothing is asked.")
    ] = False,
    quote: Annotated[
        bool, typer.Option("--quote", help="Answer in the document's own words or not at all.")
    ] = False,
    how: Annotated[
        Literal["whole", "select", "head", "tail"] | None,
        typer.Option(
            "--read",
            help="whole: all of it in the window. select: the passages that matter, at any length. "
            "head, tail: as much as fits from one end. Without it the way that measures better is taken, "
            "and a question for the rows of a table reads all that fits.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Tokens in the window, up to the model's own.", show_default=False
        ),
    ] = None,
    model: Model = DEFAULT_TO_READ,
    adapter: Adapter = None,
    max_answer_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="The longest free answer, in tokens.")
    ] = MAX_ANSWER_TOKENS,
    no_cache: NoCache = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    cache: Cache = "auto",
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Read documents: summarize, answer, cite.

    Every answer comes with its quotations and their places; every summary says what it covers. The
    first lines say how the documents are read, why, and what is left out; the last ones how much was read.
    """
    if not ask:
        _refuse_without_question(quote=quote or None, read=how, window=window)
    documents = open_named(files, keep=not no_cache)
    _, card = require_model(model, offline)
    warn_of_languages(documents, card)
    reader = xgen.load(model, device=device, dtype=dtype, adapter=adapter, cache=cache)
    reading = reader.read(
        documents,
        questions=ask or (),
        summarize=summarize or not ask,
        quote=quote,
        how=how,
        window=window,
        max_answer_tokens=max_answer_tokens,
        keep=not no_cache,
        tell=(lambda block: None) if as_json else _printer(),
    )
    if as_json:
        print_json(reading.to_json())


def _printer() -> Callable[[str], None]:
    """What prints blocks at once, with a blank line between them."""
    gaps = chain([""], repeat("\n"))

    def tell(block: str) -> None:
        print_text(next(gaps) + block)
        sys.stdout.flush()

    return tell


def _refuse_without_question(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise XgenError(f"--{name}", "it is about answers, and nothing is asked", "add --ask or drop it")
