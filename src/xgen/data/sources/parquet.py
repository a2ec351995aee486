"""Parquet tables: a row is a document. Read batch by batch by the library pyarrow."""

from collections.abc import Iterator
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.recipe import SourceSpec
from xgen.data.sources.jsonl import document_of, download, files_of
from xgen.errors import BadRecipe, XgenError

__all__ = ["documents", "download"]

_ROWS = 256  # a batch; documents are long


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """A document a row, in the files' order, its fields as for jsonl; other columns are not read.

    BadRecipe if a file has no column of texts; a file that breaks off is rejected from there on.
    """
    try:
        import pyarrow.parquet as pq
        from pyarrow import ArrowException
    except ImportError as error:
        raise XgenError(
            "parquet", "the library pyarrow is not installed", 'call `pip install "xgen[train]"`'
        ) from error
    for path in files_of(spec):
        n = 0
        try:
            with pq.ParquetFile(path) as table:
                asked = {spec.fields.get(key, key) for key in ("text", "id", "licence", "language")}
                columns = sorted(asked & set(table.schema_arrow.names))
                if spec.fields.get("text", "text") not in columns:
                    there = ", ".join(table.schema_arrow.names[:10])
                    raise BadRecipe(
                        str(path), f"it has no column of texts, but {there}", "name it in `fields.text`"
                    )
                for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
                    for record in batch.to_pylist():
                        n += 1
                        yield document_of(spec, f"{path.name}:{n}", record)
        except (ArrowException, OSError) as error:
            yield Rejected(spec.name, f"{path.name}:{n + 1}", spec.language, "file_damaged", str(error))
