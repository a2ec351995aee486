"""A corpus on the disk: token ids of many documents, flat and memory-mapped, and whose they are.

A corpus is a folder of *sets*. A set's name is `kind.language` (prose.de, code.py); `kind.language.held` are
its documents that are held out: evaluation reads them and no stage of a training ever does.

    manifest.json   form, name, digests and sizes of all files, and the recipe that it was built by
    tokenizer.json  what made ids of the texts
    SET.ids         little-endian uint16 (uint32 where the vocabulary needs it), document after document
    SET.starts      int64 [n_documents + 1]: where each document begins in SET.ids, and the end
    SET.jsonl       one line a document: id, source, licence, language, bytes of its text
    SET.trained     tuning sets only: uint8 a token, 1 = the loss counts it
    SET.parts       tuning sets only: int32 [n_parts, 2], (document, tokens); a document's part 0 is what all
                    its parts see, each other one sees part 0 and itself
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgen.data.document import Document
from xgen.errors import BadCorpus, BadModel
from xgen.files import sha256_of, whole_folder, write_whole
from xgen.text.tokenizer import TOKENIZER_FILE, Tokenizer

FORM = 1
MANIFEST_FILE = "manifest.json"
END_OF_TEXT = "<|endoftext|>"
HELD = ".held"
LINE_END, SENTENCE_MARK, WIDE_MARK, OPENS = 1, 2, 4, 8  # bits of Corpus.breaks

_SET_NAME = re.compile(r"[a-z0-9_+-]+(\.[a-z0-9_+-]+)+")
_TUNING_FILES = ("trained", "parts")
_BUFFER_BYTES = 1 << 20
_WAY_OUT = "build it again with `xgen data build`"
_LINE_END = re.compile(rb"\n[ \t\r]*\Z")
_CLOSING = "[\"'”’»)\\]」』）]*"
_SENTENCE_MARK = re.compile(rf"[.!?…।]{_CLOSING} ?\Z")
_WIDE_MARK = re.compile(rf"[。！？｡]{_CLOSING}\Z")


@dataclass(frozen=True)
class Record:
    """What is known of a document of a corpus; `bytes` of its text in UTF-8."""

    id: str
    source: str
    licence: str
    language: str
    bytes: int


@dataclass(frozen=True)
class TokenSet:
    """Documents of one kind and language.

    `ids` uint16 or uint32 [n_tokens] and `trained` uint8 [n_tokens] are memory-mapped; `starts` is int64
    [n_documents + 1], `parts` int32 [n_parts, 2] in the order of the documents. The last two are there
    in a tuning set only.
    """

    name: str
    ids: NDArray[Any]
    starts: NDArray[np.int64]
    n_bytes: int
    folder: Path
    trained: NDArray[np.uint8] | None = None
    parts: NDArray[np.int32] | None = None

    @property
    def n_documents(self) -> int:
        """How many documents the set has."""
        return len(self.starts) - 1

    @property
    def n_tokens(self) -> int:
        """How many tokens the set has."""
        return len(self.ids)

    @property
    def language(self) -> str:
        """The last word of the name: an ISO 639-1 code, or "py", "js", ... for code."""
        return self.name.removesuffix(HELD).rsplit(".", 1)[1]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, int64 [n_documents]."""
        return np.diff(self.starts)

    @cached_property
    def part_starts(self) -> NDArray[np.int64]:
        """Where each document's rows begin in `parts`, int64 [n_documents + 1]; only of a tuning set."""
        if self.parts is None:
            raise ValueError(f"{self.name} is no tuning set")
        return np.searchsorted(self.parts[:, 0], np.arange(self.n_documents + 1)).astype(np.int64)

    def document(self, index: int) -> NDArray[Any]:
        """The ids of one document."""
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def documents(self, indices: Iterable[int] | None = None) -> Iterator[Record]:
        """The records of the documents `indices`, or of all, in the order of the set.

        BadCorpus if the list of documents does not fit the set.
        """
        path = self.folder / f"{self.name}.jsonl"
        wanted = None if indices is None else set(map(int, indices))
        n_lines = 0
        try:
            with path.open("rb") as lines:
                for index, line in enumerate(lines):
                    if wanted is None or index in wanted:
                        yield Record(**json.loads(line))
                    n_lines += 1
        except (OSError, ValueError, TypeError) as error:
            raise BadCorpus(str(path), f"it cannot be read ({error})", _WAY_OUT) from error
        if n_lines != self.n_documents:
            raise BadCorpus(
                str(path), f"it has {n_lines:,} lines for {self.n_documents:,} documents", _WAY_OUT
            )


@dataclass(frozen=True)
class Corpus:
    """A corpus that is open for reading; `sets` in the order of their names."""

    folder: Path
    name: str
    vocab_size: int
    eot_id: int
    tokenizer_sha256: str
    sets: dict[str, TokenSet]

    @cached_property
    def breaks(self) -> NDArray[np.uint8]:
        """What each token is for a cut, bits in uint8 [vocab_size].

        LINE_END: it ends with a line feed, white space apart. SENTENCE_MARK: with a mark that ends a sentence
        if the next token OPENS, that is begins with white space. WIDE_MARK: with one that always does.
        """
        return breaks_of(_tokenizer(self.folder))


def breaks_of(tokenizer: Tokenizer) -> NDArray[np.uint8]:
    """The table `Corpus.breaks` of a tokenizer, uint8 [vocab_size]."""
    table = np.zeros(tokenizer.vocab_size, np.uint8)
    for index in range(tokenizer.vocab_size):
        raw = tokenizer.token_bytes(index)
        text = raw.decode("utf-8", "replace")
        bits = LINE_END if _LINE_END.search(raw) else 0
        bits |= SENTENCE_MARK if _SENTENCE_MARK.search(text) else 0
        bits |= WIDE_MARK if _WIDE_MARK.search(text) else 0
        table[index] = bits | (OPENS if raw[:1].isspace() else 0)
    return table


# ---- writing --------------------------------------------------------------------------------------


@contextmanager
def write_corpus(
    folder: Path, name: str, tokenizer: dict[str, Any], recipe: dict[str, Any]
) -> Iterator["ShardWriter"]:
    """Yield a writer whose documents become the corpus `folder` if the block succeeds, whole or not at all.

    `tokenizer` is the content of a tokenizer.json, `recipe` anything that JSON holds. BadCorpus if there is
    a folder already, or the tokenizer has no <|endoftext|>.
    """
    if folder.exists():
        raise BadCorpus(str(folder), "there is something already", "remove it or choose another folder")
    with whole_folder(folder) as draft:
        writer = ShardWriter(draft, name, tokenizer)
        yield writer
        writer.finish(recipe)


class ShardWriter:
    """Takes documents one by one, keeps little in memory and no file open; see `write_corpus`."""

    def __init__(self, folder: Path, name: str, tokenizer: dict[str, Any]) -> None:
        self._folder = folder
        self._name = name
        write_whole(folder / TOKENIZER_FILE, json.dumps(tokenizer, ensure_ascii=False).encode())
        read = _tokenizer(folder)
        self._vocab_size, self._eot_id = read.vocab_size, _eot_id(read, folder)
        self._dtype = np.dtype("<u2" if read.vocab_size <= 1 << 16 else "<u4")
        self._sets: dict[str, _Draft] = {}

    def add(
        self,
        set_name: str,
        document: Document,
        ids: Sequence[int] | NDArray[Any],
        trained: Sequence[int] | NDArray[Any] | None = None,
        parts: Sequence[int] | None = None,
    ) -> None:
        """Append a document's ids to a set; `trained` (a flag a token), `parts` (tokens of each) in tuning.

        A document with `trained` and no `parts` is one part. ValueError if the set's name is not
        `kind.language`, if there are no ids or some out of the vocabulary, if flags and parts do not cover
        the ids, or if the set's other documents are of the other kind.
        """
        tokens = np.asarray(ids)
        if not _SET_NAME.fullmatch(set_name):
            raise ValueError(f"{set_name!r} is not kind.language")
        if not len(tokens) or tokens.min() < 0 or tokens.max() >= self._vocab_size:
            raise ValueError(f"{document.id}: no ids, or some are not in [0, {self._vocab_size})")
        draft = self._sets.get(set_name) or _Draft(self._folder, set_name, trained is not None)
        if draft.tuning != (trained is not None):
            raise ValueError(f"{set_name} would hold documents with and without a loss mask")
        if trained is not None:
            flags = np.asarray(trained)
            sizes = np.asarray([len(tokens)] if parts is None else parts)
            if len(flags) != len(tokens) or sizes.min() < 1 or sizes.sum() != len(tokens):
                raise ValueError(f"{document.id}: flags or parts do not cover its {len(tokens)} ids")
            draft.append("trained", (flags != 0).astype(np.uint8).tobytes())
            owners = np.full(len(sizes), draft.n_documents)
            draft.append("parts", np.stack([owners, sizes], 1).astype("<i4").tobytes())
        elif parts is not None:
            raise ValueError(f"{document.id}: parts need a loss mask")
        self._sets[set_name] = draft
        draft.append("ids", tokens.astype(self._dtype).tobytes())
        draft.count(document, len(tokens))

    def finish(self, recipe: dict[str, Any]) -> None:
        """Write what is left and the manifest; BadCorpus if no document came."""
        if not self._sets:
            raise BadCorpus(
                self._name, "it has no documents", "see what its sources hold and its filters reject"
            )
        manifest = {
            "form": FORM,
            "name": self._name,
            "tokenizer_sha256": sha256_of(self._folder / TOKENIZER_FILE),
            "vocab_size": self._vocab_size,
            "dtype": self._dtype.name,
            "eot_id": self._eot_id,
            "sets": {name: self._sets[name].finish() for name in sorted(self._sets)},
            "recipe": recipe,
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        write_whole(self._folder / MANIFEST_FILE, text.encode())


class _Draft:
    """One set while it is written: bytes wait in memory until there is a megabyte of them."""

    def __init__(self, folder: Path, name: str, tuning: bool) -> None:
        self.tuning = tuning
        self.n_documents = 0
        self._folder, self._name = folder, name
        self._starts = [0]
        self._n_bytes = 0
        self._waiting: dict[str, bytearray] = {}
        self._digests: dict[str, Any] = {}

    def append(self, kind: str, data: bytes) -> None:
        waiting = self._waiting.setdefault(kind, bytearray())
        waiting += data
        if len(waiting) >= _BUFFER_BYTES:
            self._flush(kind)

    def count(self, document: Document, n_tokens: int) -> None:
        n_bytes = len(document.text.encode("utf-8", "surrogatepass"))
        record = Record(document.id, document.source, document.licence, document.language, n_bytes)
        self.append(
            "jsonl", json.dumps(record.__dict__, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )
        self._starts.append(self._starts[-1] + n_tokens)
        self._n_bytes += n_bytes
        self.n_documents += 1

    def finish(self) -> dict[str, Any]:
        self.append("starts", np.asarray(self._starts, "<i8").tobytes())
        for kind in self._waiting:
            self._flush(kind)
        return {
            "n_documents": self.n_documents,
            "n_tokens": self._starts[-1],
            "n_bytes": self._n_bytes,
            "files": {f"{self._name}.{kind}": digest.hexdigest() for kind, digest in self._digests.items()},
        }

    def _flush(self, kind: str) -> None:
        data = self._waiting[kind]
        with (self._folder / f"{self._name}.{kind}").open("ab") as file:
            file.write(data)
        self._digests.setdefault(kind, hashlib.sha256()).update(data)
        data.clear()


# ---- reading --------------------------------------------------------------------------------------


def open_corpus(folder: Path, check: bool = False) -> Corpus:
    """Open a corpus; its ids stay on the disk. With `check` every file's digest is computed (1 GB/s).

    BadCorpus if a file is missing or of another size than the manifest says; with `check` also if one is
    damaged, or if the manifest says something else of the tokenizer than that itself.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["form"] != FORM:
            raise BadCorpus(
                str(folder), f"it is of form {manifest['form']}, this program reads {FORM}", _WAY_OUT
            )
        _require_digest(folder / TOKENIZER_FILE, manifest["tokenizer_sha256"])
        dtype = np.dtype({"uint16": "<u2", "uint32": "<u4"}[manifest["dtype"]])
        sets = {
            name: _open_set(folder, name, entry, dtype, check)
            for name, entry in sorted(manifest["sets"].items())
        }
        vocab_size, eot_id = int(manifest["vocab_size"]), int(manifest["eot_id"])
        own = _tokenizer(folder) if check else None
        if own and (vocab_size, eot_id) != (counted := (own.vocab_size, _eot_id(own, folder))):
            what = f"its manifest says {(vocab_size, eot_id)} of ids and end, its tokenizer {counted}"
            raise BadCorpus(str(folder), what, _WAY_OUT)
        return Corpus(folder, manifest["name"], vocab_size, eot_id, manifest["tokenizer_sha256"], sets)
    except FileNotFoundError as error:
        what = "there is no corpus" if str(error.filename) == str(path) else f"{error.filename} is missing"
        raise BadCorpus(str(folder), what, _WAY_OUT) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"its manifest cannot be used ({type(error).__name__}: {error})"
        raise BadCorpus(str(folder), what, _WAY_OUT) from error


def _open_set(folder: Path, name: str, entry: dict[str, Any], dtype: np.dtype[Any], check: bool) -> TokenSet:
    if not _SET_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not kind.language")
    n_documents, n_tokens, files = entry["n_documents"], entry["n_tokens"], entry["files"]
    tuning = f"{name}.trained" in files
    kinds = ("ids", "starts", "jsonl", *(_TUNING_FILES if tuning else ()))
    paths = {kind: folder / f"{name}.{kind}" for kind in kinds}
    if check:
        for path in paths.values():
            _require_digest(path, files[path.name])
    paths["jsonl"].stat()  # missing, it raises here; its lines are counted by whoever reads them
    _require_size(paths["ids"], n_tokens * dtype.itemsize)
    _require_size(paths["starts"], (n_documents + 1) * 8)
    starts = np.fromfile(paths["starts"], "<i8")
    if starts[0] != 0 or starts[-1] != n_tokens or not (np.diff(starts) > 0).all():
        raise BadCorpus(str(paths["starts"]), "it is damaged", _WAY_OUT)
    trained = parts = None
    if tuning:
        _require_size(paths["trained"], n_tokens)
        trained = np.memmap(paths["trained"], np.uint8, "r").view(np.ndarray)
        parts = _read_parts(paths["parts"], starts)
    ids = np.memmap(paths["ids"], dtype, "r").view(np.ndarray)  # slices of a memmap cost five times as much
    return TokenSet(name, ids, starts, int(entry["n_bytes"]), folder, trained, parts)


def _read_parts(path: Path, starts: NDArray[np.int64]) -> NDArray[np.int32]:
    flat = np.fromfile(path, "<i4")
    parts = flat[: len(flat) // 2 * 2].reshape(-1, 2)
    owners, sizes = parts[:, 0], parts[:, 1]
    whole = path.stat().st_size == parts.nbytes and len(parts) > 0 and owners.min() >= 0 and sizes.min() > 0
    if not whole or (np.diff(owners) < 0).any() or owners.max() >= len(starts) - 1:
        raise BadCorpus(str(path), "it is damaged", _WAY_OUT)
    if (np.bincount(owners, sizes, len(starts) - 1) != np.diff(starts)).any():
        raise BadCorpus(str(path), "its parts do not add up to the documents", _WAY_OUT)
    return parts


def _require_size(path: Path, n_bytes: int) -> None:
    found = path.stat().st_size
    if found != n_bytes:
        what = f"it has {found:,} bytes where the manifest says {n_bytes:,}"
        raise BadCorpus(str(path), what, _WAY_OUT)


def _require_digest(path: Path, digest: str) -> None:
    if sha256_of(path) != digest:
        raise BadCorpus(
            str(path), "its digest is not the manifest's: it is damaged or of another corpus", _WAY_OUT
        )


def _tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_folder(folder)
    except BadModel as error:
        raise BadCorpus(str(folder), error.what, _WAY_OUT) from error


def _eot_id(tokenizer: Tokenizer, folder: Path) -> int:
    if END_OF_TEXT not in tokenizer.special_ids:
        raise BadCorpus(
            str(folder), f"its tokenizer has no {END_OF_TEXT}", "take one that has it, or learn one"
        )
    return tokenizer.special_ids[END_OF_TEXT]
