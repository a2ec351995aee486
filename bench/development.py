"""The development set: what prompts, methods, thresholds and defaults are chosen on.

Cut by document from sets that are not reported on, by a hash of the document's id, and listed in
bench/dev_ids.json, so that later training can leave it out. Made by

    python bench/development.py ../shared/instruct

Only documents of 200 to 3,000 characters with answers of at most 60 characters are drawn: the sets
reported on are of that kind. All documents of a language make one set, `dev.LANG`.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from questions import Paragraph, Question, QuestionSet, by_hash, load

from xgen.files import write_whole

IDS = Path(__file__).with_name("dev_ids.json")
# set, language, documents, questions of each at most
PARTS = (
    ("squad_train_part", "en", 120, 3),
    ("squadshifts_wiki", "en", 80, 3),
    ("tydiqa", "en", 100, 1),
    ("piaf", "fr", 60, 2),
    ("faquad", "pt", 60, 2),
    ("jaquad", "ja", 60, 2),
    ("squad_es_dist", "es", 60, 2),
    ("viquiquad", "ca", 60, 2),
    ("cmrc2018_train", "zh", 60, 2),
    ("tydiqa", "ru", 60, 2),
    ("squad_train_part_de", "de", 60, 2),
)
TEXT_CHARACTERS = (200, 3000)
ANSWER_CHARACTERS = 60

Ids = dict[str, dict[str, list[str]]]  # set -> document id -> question ids


def choose(folder: Path) -> Ids:
    """Draw the development set from the sets in `folder`."""
    ids: Ids = {}
    for name, lang, n_documents, n_questions in PARTS:
        drawn = sorted(_set(folder, name).paragraphs, key=lambda p: by_hash("dev", p.id))
        fitting = [(p, _fitting(p)) for p in drawn if p.lang == lang]
        for paragraph, questions in [(p, qs) for p, qs in fitting if qs][:n_documents]:
            few = sorted(questions, key=lambda q: by_hash("dev", q.id))[:n_questions]
            ids.setdefault(name, {})[paragraph.id] = [q.id for q in few]
    return ids


def development_sets(folder: Path) -> list[QuestionSet]:
    """The listed documents, read from the sets in `folder`, one set a language."""
    ids: Ids = json.loads(IDS.read_text(encoding="utf-8"))
    by_language: dict[str, list[Paragraph]] = {}
    for name, listed in ids.items():
        for paragraph in _set(folder, name).paragraphs:
            wanted = listed.get(paragraph.id)
            if wanted is not None:
                questions = tuple(q for q in paragraph.questions if q.id in wanted)
                by_language.setdefault(paragraph.lang, []).append(replace(paragraph, questions=questions))
    return [QuestionSet(f"dev.{lang}", tuple(ps)) for lang, ps in sorted(by_language.items())]


def _set(folder: Path, name: str) -> QuestionSet:
    return load(folder / f"{name}.jsonl.gz")[0]


def _fitting(paragraph: Paragraph) -> list[Question]:
    low, high = TEXT_CHARACTERS
    if not low <= len(paragraph.text) <= high:
        return []
    return [q for q in paragraph.questions if q.golds and all(_short(g.text) for g in q.golds)]


def _short(answer: str) -> bool:
    return len(answer) <= ANSWER_CHARACTERS


def main(arguments: Sequence[str]) -> None:
    ids = choose(Path(arguments[0]))
    write_whole(IDS, (json.dumps(ids, ensure_ascii=False, indent=0) + "\n").encode())
    for name, documents in ids.items():
        print(f"{name}: {len(documents)} documents, {sum(map(len, documents.values()))} questions")


if __name__ == "__main__":
    main(sys.argv[1:])
