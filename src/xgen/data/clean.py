"""One source's documents through all filters: what is kept, and what the whole corpus must know of it.

A unit of work is one package of one source. Its result is a folder that appears whole or not at all:

    documents.jsonl.zst  kept documents: id, licence, language, text
    arrays.npz           of each: bytes, rank, exact key, MinHash signature; hashes of its paragraphs
    tally.json           what came, was rejected and removed
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xgen.data.decontaminate import (
    MAX_PIECES,
    MAX_SHARE,
    Evaluations,
    overlapping_pieces,
    overlaps_code,
    texts_of_line,
)
from xgen.data.dedup import N_PERMUTATIONS, SHINGLE_WORDS, WIDE_SHINGLE_WORDS, exact_key, signature
from xgen.data.document import Document, Rejected
from xgen.data.filters import c4, fineweb, gopher, starcoder
from xgen.data.filters.boilerplate import repeated_lines, without_lines
from xgen.data.filters.language import foreign, languages_of, main_language
from xgen.data.filters.licence_texts import header_end, is_licence, licence_paragraphs
from xgen.data.filters.paragraphs import lines_of, paragraphs_of
from xgen.data.filters.prose import Prose
from xgen.data.recipe import CODE, LANGUAGE, TUNING_SETS, SourceSpec
from xgen.data.tally import Tally
from xgen.files import whole_folder, write_whole
from xgen.text.tokenizer import replace_surrogates

FORM = 2  # counts up when what a filter does changes, so that nothing old is taken for done
BATCH_CHARACTERS = 16_000_000  # documents of a package are compared for repeated lines this many at a time
MIN_BYTES = 200
MIN_LINE_BYTES = 80  # of a document whose lines each stand for themselves
MIN_PARAGRAPH_CHARACTERS = 80  # a shorter one may well stand in many documents
LITERATURE = frozenset({"book", "play"})
LITERATURE_STRIDE = 8  # of a novel every eighth paragraph is asked for its language: none is half translated
BY_LINE = frozenset({"message", "description"})  # each line is a text of its own
DOCUMENTS_FILE, ARRAYS_FILE, TALLY_FILE = "documents.jsonl.zst", "arrays.npz", "tally.json"


@dataclass(frozen=True)
class Rules:
    """What all sources are held to: the languages asked for, and what must not be learned."""

    languages: frozenset[str]
    evaluations: Evaluations
    held_back: frozenset[str] = frozenset()  # ids of tuning documents


@dataclass(frozen=True)
class Clean:
    """A document that passed, with what the corpus must know of it."""

    document: Document
    key: bytes
    signature: Any
    paragraphs: list[tuple[int, int, int]]  # (hash, index of the piece, bytes)


def pieces_of(text: str, kind: str) -> list[str]:
    """A text in the pieces that are judged one by one: paragraphs, or lines in sets of messages."""
    return lines_of(text) if kind in BY_LINE else paragraphs_of(text)


def size_of(text: str) -> int:
    """UTF-8 bytes of a text."""
    return len(text.encode("utf-8", "surrogatepass"))


class Cleaner:
    """Takes the documents of one unit in batches and counts all that happens to them in `tally`."""

    def __init__(self, spec: SourceSpec, rules: Rules) -> None:
        self.tally = Tally()
        self._spec = spec
        self._rules = rules
        wanted = rules.languages
        self._wanted = wanted & frozenset(spec.languages) if spec.languages else wanted

    def clean(self, found: Iterable[Document | Rejected]) -> Iterator[Clean]:
        """What passes all filters, in the order of the source."""
        batch: list[Document] = []
        room = BATCH_CHARACTERS
        for item in found:
            place = (self._spec.name, self._spec.set, item.language)
            n_bytes = size_of(item.text)
            self.tally.add("came", "", place, n_bytes)
            if isinstance(item, Rejected):
                self.tally.add("rejected", item.reason, place, n_bytes, sample=(item.id, item.text))
                continue
            batch.append(item)
            room -= len(item.text)
            if room <= 0:
                yield from self._clean_batch(batch)
                batch, room = [], BATCH_CHARACTERS
        yield from self._clean_batch(batch)

    def _clean_batch(self, batch: list[Document]) -> Iterator[Clean]:
        kind = self._spec.set
        lines: dict[str, frozenset[str]] = {}
        if kind not in {CODE, *TUNING_SETS, *LITERATURE, *BY_LINE}:
            texts: dict[str, list[str]] = {}
            for document in batch:
                texts.setdefault(document.language, []).append(document.text)
            lines = {language: repeated_lines(of_it) for language, of_it in texts.items()}
        for document in batch:
            if kind == CODE:
                kept = self._clean_code(document)
            elif kind in TUNING_SETS:
                kept = self._clean_tuning(document)
            else:
                kept = self._clean_prose(document, lines.get(document.language, frozenset()))
            if kept is not None:
                yield kept

    def _clean_prose(self, document: Document, lines: frozenset[str]) -> Clean | None:
        document = self._shorten(document, "white_space", _tidy(document.text))
        document = self._shorten(document, "repeated_line", without_lines(document.text, lines))
        pieces = pieces_of(document.text, self._spec.set)
        every = LITERATURE_STRIDE if self._spec.set in LITERATURE else 1
        found: list[str | None] = [None] * len(pieces)
        found[::every] = languages_of(pieces[::every], document.language, self._rules.languages)
        language = main_language(pieces, found, document.language)
        if language != document.language:
            self.tally.add("moved", f"to_{language}", self._place(document), size_of(document.text))
            document = replace(document, language=language)
        if language not in self._wanted:
            return self._reject(document, "language_not_asked_for")
        strangers = foreign(found, language)
        for code in sorted({code for code in strangers if code}):
            reason = "in_english" if code == "en" else "in_another_language"
            document, pieces = self._remove(document, reason, pieces, [code == other for other in strangers])
            strangers = [other for other in strangers if other != code]
        verdicts = licence_paragraphs(pieces)
        if is_licence(pieces, verdicts):
            return self._reject(document, "licence_text")
        document, pieces = self._remove(document, "licence_text", pieces, verdicts)
        document = self._shorten(document, "white_space", document.text.strip("\n"))
        pieces = pieces_of(document.text, self._spec.set)
        least = MIN_LINE_BYTES if self._spec.set in BY_LINE else MIN_BYTES
        if size_of(document.text) < least:
            return self._reject(document, "too_little_left")
        prose = Prose(document.text, document.language)
        touched, n_stretches = overlapping_pieces(
            pieces, prose.hashes, document.language, self._rules.evaluations
        )
        if n_stretches:
            n_touched = sum(len(piece) for piece, is_in in zip(pieces, touched, strict=True) if is_in)
            if n_stretches > MAX_PIECES or n_touched > MAX_SHARE * len(document.text):
                return self._reject(document, "evaluation_overlap")
            document, pieces = self._remove(document, "evaluation_overlap", pieces, touched)
            prose = Prose(document.text, document.language)
        fault = prose_fault(prose, self._spec.set)
        return self._reject(document, fault) if fault else self._known(document, prose, pieces)

    def _clean_code(self, document: Document) -> Clean | None:
        if not LANGUAGE.fullmatch(document.language):
            return self._reject(document, "no_language_of_code")
        start, end = header_end(document.text)
        text = document.text[:start] + document.text[end:]
        document = self._shorten(document, "licence_text", text)
        fault = starcoder.fault(document.text)
        if fault:
            return self._reject(document, fault)
        if overlaps_code(document.text, self._rules.evaluations):
            return self._reject(document, "evaluation_overlap")
        return self._whole(document, document.text)

    def _clean_tuning(self, document: Document) -> Clean | None:
        if document.id in self._rules.held_back:
            return self._reject(document, "held_back")
        if document.language and document.language not in self._wanted:
            return self._reject(document, "language_not_asked_for")
        return self._whole(document, "\n".join(texts_of_line(document.text)))

    def _whole(self, document: Document, text: str) -> Clean | None:
        """Code and conversations are not cut: they stay whole or go. `text` has the words of the document."""
        prose = Prose(text, document.language)
        _, n_stretches = overlapping_pieces([text], prose.hashes, document.language, self._rules.evaluations)
        if n_stretches:
            return self._reject(document, "evaluation_overlap")
        return self._known(document, prose, [])

    def _known(self, document: Document, prose: Prose, pieces: list[str]) -> Clean:
        """Count a document as passed, with its keys for what follows."""
        shingle_words = SHINGLE_WORDS if prose.spaced else WIDE_SHINGLE_WORDS
        marks = [
            (_mark(piece), i, size_of(piece))
            for i, piece in enumerate(pieces)
            if len(piece) >= MIN_PARAGRAPH_CHARACTERS and self._spec.set not in LITERATURE
        ]
        self.tally.add("kept", "", self._place(document), size_of(document.text))
        return Clean(document, exact_key(prose.words), signature(prose.hashes, shingle_words), marks)

    def _place(self, document: Document) -> tuple[str, str, str]:
        return self._spec.name, self._spec.set, document.language

    def _reject(self, document: Document, reason: str) -> Clean | None:
        sample = (document.id, document.text)
        self.tally.add("rejected", reason, self._place(document), size_of(document.text), sample=sample)
        return None

    def _shorten(self, document: Document, reason: str, text: str) -> Document:
        """The document with a shorter text; the bytes that went are counted."""
        lost = size_of(document.text) - size_of(text)
        if lost:
            self.tally.add("removed", reason, self._place(document), lost)
        return replace(document, text=text) if lost else document

    def _remove(
        self, document: Document, reason: str, pieces: list[str], gone: list[bool]
    ) -> tuple[Document, list[str]]:
        """The document without some of its pieces, and those left; the bytes that went are counted."""
        lost = [piece for piece, is_gone in zip(pieces, gone, strict=True) if is_gone]
        if not lost:
            return document, pieces
        sample = (document.id, "".join(lost))
        n_bytes = sum(map(size_of, lost))
        self.tally.add("removed", reason, self._place(document), n_bytes, len(lost), sample)
        left = [piece for piece, is_gone in zip(pieces, gone, strict=True) if not is_gone]
        return replace(document, text="".join(left)), left


def prose_fault(prose: Prose, kind: str) -> str | None:
    """The first rule of quality that a text of a set breaks.

    Manuals name options, files and versions and repeat themselves more than the web does: where a bound is
    looser than its paper's, that is why. Books and plays are only held to be text:
    to trail off is no fault.
    """
    if kind in BY_LINE:
        return None
    if kind in LITERATURE:
        return gopher.quality_fault(
            prose,
            min_words=100,
            max_words=10_000_000,
            max_symbols=1.0,
            max_ellipsis_lines=1.0,
            min_alphabetic_words=0.7,
        )
    return (
        gopher.quality_fault(prose, min_words=30, max_words=10_000_000, min_alphabetic_words=0.65)
        or c4.fault(prose)
        or fineweb.fault(prose, min_lines_ending=0.08, max_short_lines=0.75)
        or gopher.repetition_fault(
            prose, min_line_characters=15, max_duplicate=((5, 0.3), (7, 0.25), (10, 0.2))
        )
    )


def clean_unit(found: Iterable[Document | Rejected], spec: SourceSpec, rules: Rules, folder: Path) -> None:
    """Clean one unit's documents into `folder`, which is there when all of it is."""
    import zstandard

    cleaner = Cleaner(spec, rules)
    keys, signatures, sizes, ranks, languages = [], [], [], [], []
    marks: list[tuple[int, int, int, int]] = []
    with whole_folder(folder) as draft:
        with (
            (draft / DOCUMENTS_FILE).open("wb") as raw,
            zstandard.ZstdCompressor(level=3).stream_writer(raw) as file,
        ):
            for i, kept in enumerate(cleaner.clean(found)):
                document = kept.document
                line = {key: getattr(document, key) for key in ("id", "licence", "language", "text")}
                file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                keys.append(kept.key)
                signatures.append(kept.signature)
                sizes.append(size_of(document.text))
                ranks.append(rank_of(document))
                languages.append(document.language)
                marks += [(mark, i, piece, n_bytes) for mark, piece, n_bytes in kept.paragraphs]
        np.savez(
            draft / ARRAYS_FILE,
            keys=np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16),
            signatures=np.asarray(signatures, np.uint32).reshape(len(keys), N_PERMUTATIONS),
            sizes=np.asarray(sizes, np.int64),
            ranks=np.frombuffer(b"".join(ranks), np.uint8).reshape(-1, 16),
            languages=np.asarray(languages, np.str_),
            marks=np.asarray([mark for mark, *_ in marks], np.uint64),
            places=np.asarray([place for _, *place in marks], np.int64).reshape(-1, 3),
        )
        write_whole(draft / TALLY_FILE, cleaner.tally.to_json().encode())


def read_documents(folder: Path, source: str) -> Iterator[Document]:
    """The documents that `clean_unit` kept, in their order."""
    import zstandard

    with (folder / DOCUMENTS_FILE).open("rb") as raw, zstandard.open(raw, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Document(source=source, **json.loads(line))


def rank_of(document: Document) -> bytes:
    """16 bytes that put documents in an order which has nothing to do with where they stood."""
    name = f"{document.source}\n{document.id}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(name).digest()[:16]


def _mark(piece: str) -> int:
    words = " ".join(piece.split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little")


def _tidy(text: str) -> str:
    """Without carriage returns, NULs, more than two blank lines in a row and half surrogates."""
    text = replace_surrogates(text.replace("\r\n", "\n").replace("\0", ""))[0]
    while "\n\n\n\n" in text:
        text = text.replace("\n\n\n\n", "\n\n\n")
    return text.strip("\n")
