"""The last step of a build: documents chosen and encoded become a corpus folder, and every one is counted."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgen.data.clean import read_documents, size_of
from xgen.data.encode import Portion, held_out
from xgen.data.recipe import TUNING_SETS, CorpusRecipe
from xgen.data.select import REASONS, Candidates, Choice
from xgen.data.shards import HELD, MANIFEST_FILE, ShardWriter, write_corpus
from xgen.data.tally import Tally
from xgen.data.tuning import read_tuning, whole_rejections
from xgen.errors import BadCorpus, XgenError
from xgen.files import forget_drafts, replace_folder


def write_folder(
    recipe: CorpusRecipe,
    out: Path,
    tokenizer: dict[str, Any],
    portions: Sequence[Portion],
    encoded: Sequence[Path],
    candidates: Candidates,
    choice: Choice,
    held: NDArray[np.bool_],
    tally: Tally,
) -> None:
    """Write the corpus folder, replacing one that is there, and count what every candidate became.

    XgenError if the counts do not add up.
    """
    as_read = json.loads(json.dumps(asdict(recipe)))
    for spec in as_read["source"]:
        spec.pop("folder")
    starts = np.searchsorted(candidates.units, np.arange(len(portions)))
    draft = out.with_name(f".{out.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    forget_drafts(draft)
    with write_corpus(draft, recipe.name, tokenizer, as_read) as writer:
        for start, portion, path in zip(starts.tolist(), portions, encoded, strict=True):
            write = _write_tuning if portion.set in TUNING_SETS else _write_texts
            count = slice(start, start + portion.n_candidates)
            write(portion, path, choice.reasons[count], held[count], writer, tally)
        if wrong := tally.fault():
            raise XgenError(str(out), f"the counts do not add up ({wrong})", "please report it")
    require_replaceable(out)
    replace_folder(draft, out)


def require_replaceable(out: Path) -> None:
    """BadCorpus if something stands at `out` that is no corpus: a build would remove it."""
    there = out.is_dir() and (any(out.iterdir()) and not (out / MANIFEST_FILE).is_file())
    if there or (out.exists() and not out.is_dir()):
        raise BadCorpus(str(out), "there is something that is no corpus", "choose another folder")


def held_rows(recipe: CorpusRecipe, candidates: Candidates, choice: Choice) -> NDArray[np.bool_]:
    """Which candidates are held out, set by set: bool [n]."""
    held = np.zeros(len(candidates.sizes), np.bool_)
    kept = np.flatnonzero(choice.reasons == 0)
    pairs = np.stack([candidates.sets[kept].astype(str), candidates.languages[kept].astype(str)], axis=1)
    for pair in np.unique(pairs, axis=0):
        rows = kept[(pairs == pair).all(axis=1)]
        held[rows] = held_out([candidates.ranks[i].tobytes() for i in rows.tolist()], recipe.held_out_share)
    return held


def _write_texts(
    portion: Portion,
    path: Path,
    reasons: NDArray[np.int64],
    held: NDArray[np.bool_],
    writer: ShardWriter,
    tally: Tally,
) -> None:
    with np.load(path, allow_pickle=False) as arrays:
        ids, ends = arrays["ids"], np.cumsum(arrays["lengths"]).tolist()
    begin = taken = 0
    for row, document in enumerate(read_documents(portion.folder, portion.source)):
        place = (portion.source, portion.set, document.language)
        sample = (document.id, document.text)
        if reasons[row]:
            reason = REASONS[reasons[row]]
            tally.add("rejected", reason, place, size_of(document.text), sample=sample)
            continue
        shorter = portion.without(row, document)
        if lost := size_of(document.text) - size_of(shorter.text):
            tally.add("removed", "repeated_paragraph", place, lost, len(portion.gone[row]), sample)
        tally.add("kept", "", place, size_of(shorter.text), sample=(document.id, shorter.text))
        name = f"{portion.set}.{document.language}{HELD if held[row] else ''}"
        writer.add(name, shorter, ids[begin : ends[taken]])
        begin, taken = ends[taken], taken + 1


def _write_tuning(
    portion: Portion,
    path: Path,
    reasons: NDArray[np.int64],
    held: NDArray[np.bool_],
    writer: ShardWriter,
    tally: Tally,
) -> None:
    """Documents are counted as they came, a line each; what was rejected of one is counted beside it."""
    found = read_tuning(path)
    documents = list(read_documents(portion.folder, portion.source))
    whole = whole_rejections(found.rejected, documents)
    for row, document in enumerate(documents):
        place = (portion.source, portion.set, document.language)
        size, sample = size_of(document.text), (document.id, document.text)
        if reasons[row]:
            tally.add("rejected", REASONS[reasons[row]], place, size, sample=sample)
        elif document.id in whole:
            tally.add("rejected", whole[document.id].reason, place, size, sample=sample)
        else:
            tally.add("kept", "", place, size, sample=sample)
    for part in found.rejected:
        if part.id not in whole:
            place = (portion.source, portion.set, part.language)
            tally.add("removed", part.reason, place, 0, sample=(part.id, part.text))
    for record, is_held in zip(found.records, found.held, strict=True):
        name = f"{portion.set}.{record.document.language}{HELD if is_held else ''}"
        writer.add(name, record.document, record.ids, record.trained, record.parts)
