"""Texts that made questions are asked about or hidden among: of a built corpus, or of files of JSON lines."""

import math
import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xgen.data.made.page import Block
from xgen.data.shards import HELD, open_corpus
from xgen.data.sources.jsonl import records
from xgen.errors import BadRecipe
from xgen.text.tokenizer import Tokenizer

PROSE_SETS = ("book", "description", "prose", "reference", "speech", "wiki")
"""Kinds of sets of a corpus that are prose: code, messages, plays, questions and conversations are not."""

SET_CHARACTERS = 3_000_000
"""Of one set of a corpus, at most: a draw of its documents."""

BOOK_CHARACTERS = 120_000
"""Of one document, at most."""

USUAL_DENSITY = 0.55
DENSITY = {
    "en": 1.0,
    **dict.fromkeys(("ca", "da", "de", "es", "fr", "id", "it", "nl", "no", "pt", "sv"), 0.75),
    **dict.fromkeys(("ar", "pl", "ro", "ru", "tr"), 0.6),
    **dict.fromkeys(("bg", "cs", "fi", "he", "hu", "sr", "sw", "uk"), 0.48),
    **dict.fromkeys(("bn", "fa", "ja", "ko", "te", "zh"), 0.32),
}
"""Characters a token has, beside English (4.4), in the vocabulary of qwen-0.5b."""

_SENTENCE = re.compile(r"[.!?…。！？][\"'”’»)\]」』）]*$")


@dataclass(frozen=True)
class Text:
    """A text with a licence; `questions` as its file has them (data/questions.py), none in a corpus."""

    id: str
    language: str
    title: str
    text: str
    licence: str
    questions: tuple[Mapping[str, Any], ...] = ()


def texts_of_corpus(folder: Path, seed: int) -> Iterator[Text]:
    """Prose of a corpus, a draw of each set; BadCorpus if there is none."""
    corpus = open_corpus(folder)
    tokenizer = Tokenizer.from_folder(folder)
    for name, tokens in corpus.sets.items():
        if name.endswith(HELD) or name.partition(".")[0] not in PROSE_SETS:
            continue
        order = list(range(tokens.n_documents))
        random.Random(f"{seed} {name}").shuffle(order)
        known = list(tokens.documents())
        left = SET_CHARACTERS
        for index in order:
            if left <= 0:
                break
            record = known[index]
            text = tokenizer.decode(tokens.document(index)[: BOOK_CHARACTERS // 2].tolist())
            text = text[: min(left, BOOK_CHARACTERS)]
            left -= len(text)
            yield Text(f"{record.source}/{record.id}", record.language, record.id, text, record.licence)


def texts_of_lines(path: Path, licence: str, held_back: Collection[str]) -> Iterator[Text]:
    """The texts of a file of JSON lines, which has `text` and perhaps `questions` (data/questions.py).

    Their licence is the line's, else `licence`. Left out is what has no text, and every id FILE/ID in
    `held_back` (FILE is the file's name without endings). BadRecipe if the file is missing or damaged, or
    nobody states a licence.
    """
    stem = path.name.partition(".jsonl")[0]
    if not path.is_file():
        raise BadRecipe(str(path), "there is no such file", "put it there, or take it out of the recipe")
    for number, record, fault, _ in records(path):
        if fault:
            raise BadRecipe(f"{path} line {number}", fault.replace("_", " "), "mend the file")
        name = f"{stem}/{record.get('id', number)}"
        text, questions = record.get("text"), record.get("questions")
        if not isinstance(text, str) or not text.strip() or name in held_back:
            continue
        stated = str(record.get("licence") or licence)
        if not stated:
            raise BadRecipe(str(path), "no licence is stated for its texts", "say it behind the file's name")
        language = str(record.get("language") or record.get("lang") or "")
        asked = tuple(q for q in questions if isinstance(q, dict)) if isinstance(questions, list) else ()
        yield Text(name, language, str(record.get("title") or ""), text, stated, asked)


class Filler:
    """Paragraphs of one language to stand between what is asked about."""

    def __init__(self, texts: Sequence[Text]) -> None:
        self._runs: list[tuple[list[str], str]] = []
        for text in texts:
            good = [part for part in text.text.split("\n") if is_prose(part)]
            if good:
                self._runs.append((good, text.licence))

    def __bool__(self) -> bool:
        return bool(self._runs)

    def draw(self, draw: random.Random, n_characters: int) -> tuple[list[Block], set[str]]:
        """Paragraphs of `n_characters` in all, about, some in a row of one text; and their licences."""
        blocks: list[Block] = []
        licences: set[str] = set()
        while n_characters > 0 and self._runs:
            run, licence = draw.choice(self._runs)
            start = draw.randrange(len(run))
            for paragraph in run[start : start + draw.randint(1, 4)]:
                blocks.append(Block(paragraph.strip()))
                n_characters -= len(paragraph)
            licences.add(licence)
        return blocks, licences


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph is made of sentences: not too short or long, mostly letters, ended by a mark."""
    stripped = paragraph.strip()
    if not 80 <= len(stripped) * (3 if stripped[:1] > "\u2e80" else 1) <= 1600:
        return False
    letters = sum(character.isalpha() or character == " " for character in stripped)
    return letters >= 0.9 * len(stripped) and bool(_SENTENCE.search(stripped))


def drawn_length(language: str, draw: random.Random, characters: tuple[int, int]) -> int:
    """A length, log-uniform between two numbers of characters of English, in characters of `language`."""
    low, high = (math.log(n) for n in characters)
    return round(math.exp(draw.uniform(low, high)) * DENSITY.get(language, USUAL_DENSITY))
