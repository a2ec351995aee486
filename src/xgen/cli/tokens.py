"""`xgen tokens`: how long documents are for a model, and the very text that places point into."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from xgen.cards import DEFAULT_TO_READ
from xgen.cli.documents import open_named
from xgen.cli.loading import require_model
from xgen.cli.options import Json, Model, NoCache, Offline
from xgen.cli.printing import print_table, print_text
from xgen.errors import XgenError
from xgen.show import note, print_json


def tokens(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", show_default=False, help="Documents, as for `xgen read`."),
    ] = None,
    *,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Print the text of FILE exactly as citations count it (`start`, `end`: characters).",
        ),
    ] = None,
    model: Model = DEFAULT_TO_READ,
    no_cache: NoCache = False,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Count the tokens of documents.

    Says which of them fit the model's window. With --text: prints what was extracted from a file.
    """
    if text is not None:
        _print_extracted(text, keep=not no_cache)
    elif files:
        _print_counts(_counts(files, model, offline, keep=not no_cache), as_json)
    else:
        raise XgenError("tokens", "no file is named", "name files to count, or one with --text")


def _print_extracted(path: str, keep: bool) -> None:
    from xgen.text.extract import open_document

    document = open_document(path, keep)
    for dropped in document.dropped:
        note(f"{document.path}: {dropped}")
    # Bytes, so that no line end is translated on the way.
    sys.stdout.buffer.write(document.text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def _counts(files: list[str], model: str, offline: bool, keep: bool) -> dict[str, Any]:
    documents = open_named(files, keep)
    folder, card = require_model(model, offline)
    from xgen.read.window import BESIDE_TOKENS, window_for
    from xgen.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(folder)
    model_window = card.window_tokens or _window_of(folder)
    window = window_for(model_window, None)
    room = window - BESIDE_TOKENS
    counts = [len(tokenizer.encode(document.text)) for document in documents]
    return {
        "model": card.name,
        "window_tokens": window,
        "room_tokens": room,
        "model_window_tokens": model_window,
        "documents": [
            {
                "path": document.path,
                "tokens": count,
                "characters": len(document.text),
                "fits": count <= room,
                "dropped": list(document.dropped),
            }
            for document, count in zip(documents, counts, strict=True)
        ],
    }


def _window_of(folder: Path) -> int:
    from xgen.formats.folder import CONFIG_FILE, read_shape

    return read_shape(folder / CONFIG_FILE).max_seq_len


def _print_counts(counts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(counts)
        return
    documents = counts["documents"]
    window, model_window = counts["window_tokens"], counts["model_window_tokens"]
    rows = [
        [f"{d['tokens']:,}", f"{d['characters']:,}", "yes" if d["fits"] else "no", d["path"]]
        for d in documents
    ]
    print_table(["tokens", "characters", f"fits {counts['room_tokens']:,}", "document"], rows)
    total = sum(document["tokens"] for document in documents)
    more = f" (up to {model_window:,} with `--window`)" if model_window > window else ""
    print_text(
        f"{total:,} tokens in all for {counts['model']}. `--read whole` takes {counts['room_tokens']:,} at "
        f"once, beside question and answer in a window of {window:,}{more}; `--read select` any length."
    )
    for document in documents:
        for dropped in document["dropped"]:
            print_text(f"{document['path']}: left out: {dropped}")
