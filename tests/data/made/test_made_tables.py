"""Which rows of a table are meant: worked out again from the cells, the legend, the question's own value."""

import random
import re
from collections import Counter

import pytest

from xgen.data.made import families, licences, tables
from xgen.data.made.texts import Filler
from xgen.text.rows import parse_rows

ALLOWING = (
    r"Terms (\S+): any use", r"^(\S+): may be used", "“(.+?)” means that commercial use is allowed",
    r"Legend: (\S+) = products", r"^(\S+) commercial use permitted", r"; (\S+): sale allowed",
    r"^(\S+) – for firms", r"what is (\S+) need not", r", (\S+) excludes nothing", r"open with (\S+) and",
    r"^(\S+) stands for: paid services allowed", r"Only (\S+) lets a firm",
)  # fmt: skip
"""What a legend says of the mark that allows commercial use."""

NC = re.compile(r"NC|non-commercial|no commercial|academic|evaluation|research", re.IGNORECASE)


@pytest.mark.parametrize("asking", licences.ASKED_IN)
def test_who_may_be_used_commercially_follows_from_the_table(asking: str) -> None:
    """Worked out again from the cells: by the column that says so, else by the licence of the weights."""
    n_columns = Counter[bool]()
    words = licences.ENGLISH if asking == "en" else licences._words()[asking]
    for number, page in enumerate(licences.pages(asking, Filler([]), 40, 2)):
        models = licences.drawn_models(random.Random(f"licences {asking} {number} 2"))
        right = dict(zip((row[0] for row in models.table.rows), allowed_by(models, page.text), strict=True))
        n_columns[models.use is not None] += 1
        for asked in page.questions:
            named = max((name for name in right if name in asked.question), key=len, default="")
            if asked.kind == "free":
                reply = parse_rows(asked.answer)
                assert reply is not None
                wanted = asked.question not in words["which_not"]
                assert wanted or asked.question not in words["which"]
                assert [(e.name, e.holds) for e in reply.entries] == [
                    (n, m is wanted) for n, m in right.items()
                ]
                chosen = [name for name, may in right.items() if may is wanted]
                told = ", ".join(chosen) or words["none"][0]
                assert reply.answer == (str(len(chosen)) if asked.question in words["how_many"] else told)
            elif asked.kind == "yesno":
                assert asked.answer == words["says"][0 if right[named] else 1]
            elif asked.kind == "unanswerable":
                every = [*words["licence"], *words["may"]]
                assert asked.question not in {pattern.format(name=n) for pattern in every for n in right}
            else:
                row = next(row for row in models.table.rows if row[0] == named)
                assert asked.answer in row
    assert min(n_columns.values()) > 3


def allowed_by(models: licences.Models, text: str) -> list[bool]:
    """What the cells say, by the column for it, by the legend, or by the licence of the weights."""
    head = list(models.table.head)
    use = next((c for c, name in enumerate(head) if name in licences.USE_HEADS), None)
    weights = next(c for c, n in enumerate(head) if n in (*licences.LICENCE_HEADS, *licences.ONE_HEADS))
    by_use = [row[use] in ("yes", "allowed", "permitted", "✓", "Y") for row in models.table.rows if use]
    by_licence = [not NC.search(row[weights]) for row in models.table.rows]
    if models.legend:
        assert models.legend in text
        (mark,) = [match[1] for cue in ALLOWING if (match := re.search(cue, models.legend, re.MULTILINE))]
        return [row[weights] == mark for row in models.table.rows]
    assert use is None or by_use == by_licence
    return by_licence


PROPERTIES = {
    r"(more|greater|heavier|longer) than|(above|over|after) \d": lambda cell, value: cell > value,
    r"(less|fewer|cheaper|shorter) than|(below|under|before) \d": lambda cell, value: cell < value,
}


def test_law_which_rows_have_a_property_follows_from_their_cells() -> None:
    """Worked out again from the value in the question and those in the reply, which stand in the table."""
    seen = Counter[str]()
    for page in tables.pages("en", Filler([]), 60, 3):
        for asked in page.questions:
            reply = parse_rows(asked.answer)
            if asked.kind != "free" or reply is None:
                continue
            flat = " ".join(page.text.split())
            assert all(e.name in flat for e in reply.entries)
            numbers = re.findall(
                r"\d+(?:\.\d+)?", re.sub(r"“[^“”]*\d[^“”]*”$|\(km²?\)|F1", "", asked.question)
            )
            is_number = all(re.match(r"[\d.]+(?!.*[a-z]{2,} \d)", e.value) for e in reply.entries)
            way = next((how for how in PROPERTIES if re.search(how, asked.question)), None)
            if is_number and way and len(numbers) == 1:
                holds = [PROPERTIES[way](float(re.match(r"[\d.]+", e.value)[0]), float(numbers[0]))
                         for e in reply.entries]  # fmt: skip
                assert [e.holds for e in reply.entries] == holds, asked.question
                seen["number"] += 1
            elif not way:
                is_not = bool(re.search(r"don't|do not|does not|is not|another", asked.question))
                stands = [
                    bool(re.search(rf"\b{re.escape(e.value)}(?!\w)", asked.question)) for e in reply.entries
                ]
                assert [e.holds is not is_not for e in reply.entries] == stands, asked.question
                seen["not" if is_not else "is"] += 1
            chosen = [e.name for e in reply.entries if e.holds]
            counted = bool(re.match(r"How many|What is the number", asked.question))
            assert reply.answer == (str(len(chosen)) if counted else ", ".join(chosen) or "none")
    assert min(seen[way] for way in ("number", "is", "not")) > 10, seen


def test_a_member_of_a_family_has_the_licence_that_the_article_tells_of_it() -> None:
    n_asked = 0
    for page in families.pages(Filler([]), 20, 3):
        told = page.text.partition("## Licences")[2]
        for asked in page.questions:
            reply = parse_rows(asked.answer)
            if reply is not None:
                assert all(e.value in told and e.name in page.text for e in reply.entries)
                free = [not NC.search(e.value) for e in reply.entries]
                assert [e.holds for e in reply.entries] in (free, [not each for each in free])
            if asked.kind == "extractive":
                ((start, end),) = asked.places
                assert page.text[start:end] == asked.answer
                n_asked += 1
    assert n_asked > 40
