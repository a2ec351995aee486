"""Names asked for by what they are, and what they are by their names, over short descriptions of programs.

A package's description begins with a line that says what it is. That line is taken out of the text, and
what is meant by it is asked in its words, or in those of the same line in English: people wrote it and the
text, each in other words. siblings.py puts together what is alike and asks what is not there.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xgen.data.made import siblings
from xgen.data.made.page import Page
from xgen.data.made.texts import Text
from xgen.data.made.words import ASKING, asks_of

SOURCE = "descriptions/"
"""How the ids of these texts begin: the kind of source of data/sources/descriptions.py."""

NAMED_WITHIN = 40
"""Characters of a text in which its name must come."""

LONGEST_ANSWER = 45
SYNOPSIS = (12, 90)
"""Least and most characters of a line that says what something is."""


def languages() -> tuple[str, ...]:
    """Those that have words for these questions."""
    return tuple(language for language in ASKING if "described" in asks_of(language))


def pages(
    language: str, texts: Sequence[Text], english: Sequence[Text], n_pages: int, seed: int
) -> Iterator[Page]:
    """At most `n_pages` texts of several descriptions in `language`; some questions are put in English."""
    known = {_package(text): _parted(text.text)[0] for text in english if text.id.startswith(SOURCE)}
    asked = [
        each
        for text in texts
        if text.id.startswith(SOURCE) and (each := _asked(text, known if language != "en" else {}, seed))
    ]
    for page in siblings.pages(language, asked, n_pages, seed):
        yield replace(page, id=page.id.replace("siblings", "named", 1))


def _package(text: Text) -> str:
    return text.title.rpartition(":")[2]


def _parted(text: str) -> tuple[str, str]:
    """The line that says what it is, and the text without it."""
    synopsis, _, body = text.partition("\n\n")
    return (synopsis.strip(), body.strip()) if "\n" not in synopsis.strip() else ("", text)


def _asked(text: Text, english: Mapping[str, str], seed: int) -> Text | None:
    """The description without its first line, with questions; None if its name does not come at once."""
    draw = random.Random(f"named {text.id} {seed}")
    asks = asks_of(text.language)
    synopsis, body = _parted(text.text)
    found = re.search(rf"(?<![\w-]){re.escape(_package(text))}(?![\w-])", body[:NAMED_WITHIN], re.IGNORECASE)
    if found is None or len(found.group()) < 3:
        return None
    name, start = found.group(), found.start()
    questions: list[dict[str, Any]] = []
    answer = [{"text": name, "start": start}]
    for line, words in ((synopsis, asks), (english.get(_package(text), ""), asks_of("en"))):
        if SYNOPSIS[0] <= len(line) <= SYNOPSIS[1] and name.casefold() not in line.casefold():
            question = draw.choice(words["described"]).format(synopsis=line.rstrip(".!? "))
            questions.append({"question": question, "type": "extractive", "answers": answer})
            if words is not asks:  # nothing of it is in the text: what it is like is told by the own line
                questions[-1]["fits"] = f"{name} {synopsis}"
    if "what" in asks:
        pattern = rf"(?:\s\([^)]*\))? {asks['is'][0]}(?P<what>[^.,;:()\n]+?)(?=[.,;:(\n]|$)"
        told = re.compile(pattern).match(body, found.end())
        if told and _is_definition(told["what"]):
            question = draw.choice(asks["what"]).format(name=name)
            own = [{"text": told["what"].strip(), "start": told.start("what")}]
            questions.append({"question": question, "type": "extractive", "answers": own})
    return replace(text, title="", text=body, questions=tuple(questions)) if questions else None


def _is_definition(words: str) -> bool:
    """Whether it says enough and is not cut in the middle, as before the dots of "C++." or "e.g."."""
    stripped = words.strip()
    return (
        8 <= len(stripped) <= LONGEST_ANSWER and len(stripped.split()) > 1 and len(stripped.split()[-1]) > 3
    )
