"""`xgen cache`: what stays on the disk of documents that were read: shown, located, cleared."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xgen.cli.options import Json
from xgen.cli.printing import print_table, print_text
from xgen.show import print_json

if TYPE_CHECKING:
    from xgen.engine.kept import Kept
    from xgen.read.indexed import KeptIndex
    from xgen.text.kept import KeptText


def cache(
    *,
    clear: Annotated[
        bool,
        typer.Option(
            "--clear",
            help="Remove all kept documents and texts; models, 8-bit copies of their weights, corpora and "
            "downloads stay.",
        ),
    ] = False,
    clear_int8: Annotated[
        bool,
        typer.Option(
            "--clear-int8",
            help="Remove the 8-bit copies of weights, which are made anew where they are used.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what is kept of documents, so that asking again starts at once.

    Texts of PDF, DOCX and HTML files, the words of long documents, and the keys and values of what was read
    whole. All hold what the documents say, in files that only you can read. The least recently used go first
    when there is more than XGEN_CACHE_GB (2 unless it is set; 0 keeps nothing).

    The 8-bit copies of weights in the cache folder are named too; they hold nothing of any document.
    """
    from xgen import shelf
    from xgen.bundle.int8_copies import clear_int8_copies, int8_copies, int8_folder
    from xgen.engine import kept
    from xgen.read import indexed
    from xgen.text import kept as kept_texts

    removed = (shelf.clear() if clear else 0) + (clear_int8_copies() if clear_int8 else 0)
    documents, texts, copies = kept.entries(), kept_texts.entries(), int8_copies()
    indices = indexed.entries()
    total = sum(entry.n_bytes for entry in _all(documents, texts, indices))
    if as_json:
        print_json(
            {
                "folder": str(shelf.folder()),
                "limit_bytes": shelf.limit_bytes(),
                "total_bytes": total,
                "removed_bytes": removed,
                "documents": [
                    {"model": entry.model, "documents": list(entry.documents), "tokens": entry.n_tokens}
                    | _file(entry)
                    for entry in documents
                ],
                "texts": [
                    {"document": entry.document, "characters": entry.n_characters} | _file(entry)
                    for entry in texts
                ],
                "words": [
                    {"documents": list(entry.documents), "passages": entry.n_passages} | _file(entry)
                    for entry in indices
                ],
                "int8_folder": str(int8_folder()),
                "int8": [{"model": model, "bytes": n_bytes} for model, n_bytes in copies],
            }
        )
        return
    if clear or clear_int8:
        print_text(f"{_size(removed)} removed.")
    _print_kept(documents, texts, indices)
    print_text(f"{total / 1e6:,.0f} of {shelf.limit_bytes() / 1e6:,.0f} MB in {shelf.folder()}")
    if copies:
        named = ", ".join(f"{model or 'a model'} {_size(n_bytes)}" for model, n_bytes in copies)
        print_text(f"Beside them, 8-bit copies of weights in {int8_folder()}: {named}")


def _print_kept(documents: "list[Kept]", texts: "list[KeptText]", indices: "list[KeptIndex]") -> None:
    rows = [
        (each.used, f"as {each.model} read it", f"{each.n_tokens:,} tokens", each.n_bytes, each.documents)
        for each in documents
        if each.model
    ]
    rows += [
        (each.used, "text", f"{each.n_characters:,} characters", each.n_bytes, (each.document,))
        for each in texts
        if each.document
    ]
    rows += [
        (each.used, "words", f"{each.n_passages:,} passages", each.n_bytes, each.documents)
        for each in indices
        if each.documents
    ]
    damaged = _all(
        [each for each in documents if not each.model],
        [each for each in texts if not each.document],
        [each for each in indices if not each.documents],
    )
    rows += [(each.used, "damaged", "", each.n_bytes, ()) for each in damaged]
    if rows:
        print_table(
            ["last used", "what", "length", "size", "documents"],
            [
                [
                    f"{datetime.fromtimestamp(used):%Y-%m-%d %H:%M}",
                    what,
                    length,
                    _size(n_bytes),
                    ", ".join(names),
                ]
                for used, what, length, n_bytes, names in sorted(rows, reverse=True)
            ],
        )


def _all(
    documents: "list[Kept]", texts: "list[KeptText]", indices: "list[KeptIndex]"
) -> "list[Kept | KeptText | KeptIndex]":
    return [*documents, *texts, *indices]


def _file(entry: "Kept | KeptText | KeptIndex") -> dict[str, Any]:
    used = datetime.fromtimestamp(entry.used).astimezone().isoformat(timespec="seconds")
    return {"file": str(entry.path), "bytes": entry.n_bytes, "used": used}


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f} MB" if n_bytes >= 500_000 else f"{n_bytes / 1e3:,.0f} kB"
