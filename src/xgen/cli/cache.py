"""`xgen cache`: the documents that stay read on the disk: shown, located, cleared."""

from datetime import datetime
from typing import Annotated

import typer

from xgen.cli.options import Json
from xgen.cli.printing import print_table, print_text
from xgen.show import print_json


def cache(
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all kept documents; models stay.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is kept of documents that were read whole, so that asking again starts at once.

    It holds their content, in files that only you can read. The least recently used go first when
    there is more than XGEN_CACHE_GB (2 unless it is set; 0 keeps nothing).
    """
    from xgen.engine import kept

    removed = kept.clear() if clear else 0
    found = kept.entries()
    total = sum(entry.n_bytes for entry in found)
    if as_json:
        print_json(
            {
                "folder": str(kept.folder()),
                "limit_bytes": kept.limit_bytes(),
                "total_bytes": total,
                "removed_bytes": removed,
                "documents": [
                    {
                        "file": str(entry.path),
                        "model": entry.model,
                        "documents": list(entry.documents),
                        "tokens": entry.n_tokens,
                        "bytes": entry.n_bytes,
                        "used": datetime.fromtimestamp(entry.used).astimezone().isoformat(timespec="seconds"),
                    }
                    for entry in found
                ],
            }
        )
        return
    if clear:
        print_text(f"{removed / 1e6:,.0f} MB removed.")
    rows = [
        [
            f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}",
            entry.model or "damaged",
            f"{entry.n_tokens:,}",
            f"{entry.n_bytes / 1e6:,.0f} MB",
            ", ".join(entry.documents),
        ]
        for entry in found
    ]
    if rows:
        print_table(["last used", "model", "tokens", "size", "documents"], rows)
    print_text(f"{total / 1e6:,.0f} of {kept.limit_bytes() / 1e6:,.0f} MB in {kept.folder()}")
