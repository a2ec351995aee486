"""What a note's rules let rows do: worked out again from the words of the note and the cells of the table."""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.document import Document, Rejected
from xgen.data.made import conditions, notes, rules
from xgen.data.made.page import Asked
from xgen.data.made.texts import Filler
from xgen.data.questions import KINDS, read_passage
from xgen.text.rows import parse_rows

EN = rules.words_in("en")
NUMBER = r"-?\d+(?:\.\d+)?"
DATE = r"\d{4}-\d\d-\d\d|\d{1,2} [A-Z][a-z]+ \d{4}"
BOUNDS: list[tuple[str, Callable[[float, float], bool]]] = [
    ("no later|or earlier|including|or less|at most|not exceed|no more", lambda cell, bound: cell <= bound),
    ("no earlier|or later|or more|at least|reaches|upwards", lambda cell, bound: cell >= bound),
    ("more than|above|over|exceeds|beyond|after|later", lambda cell, bound: cell > bound),
    ("less than|below|under|before|earlier", lambda cell, bound: cell < bound),
]
NAMED: dict[str, Callable[[str, str], bool]] = {
    "is": lambda cell, name: cell == name,
    "marks": lambda cell, name: cell.endswith(name),
    "family": lambda cell, name: name in (cell, *re.split(r"[ -]", cell), *re.split(" ", cell)),
}


def one_of(phrases: Sequence[str]) -> str:
    return "|".join(sorted((re.escape(phrase) for phrase in phrases), key=len, reverse=True))


def value_of(cell: str) -> float:
    if re.fullmatch(DATE, cell):
        return datetime.strptime(cell, "%Y-%m-%d" if cell[4] == "-" else "%d %B %Y").toordinal()
    return float(re.findall(NUMBER, cell)[0])


def met_by(column: conditions.Ruled, clause: str, said: str) -> list[bool]:
    """Which cells meet the condition that `clause` puts, with the value or the labels `said` in it."""
    if column.labels:
        named = re.split(", | or ", said)
        return [any(NAMED[column.way](cell, name) for name in named) for cell in column.cells]
    around = clause.replace(said, "").replace(f"“{column.head}”", "").replace(column.words["noun"], "")
    compare = next(how for words, how in BOUNDS if re.search(words, around))
    return [compare(value_of(cell), value_of(said)) for cell in column.cells]


def forms_of(column: conditions.Ruled, part: str) -> list[re.Pattern[str]]:
    """What conditions on a column look like, in full or bare; the group is the value or the labels."""
    label, own = one_of(column.pool), column.words
    value = rf"(?:{label})(?:, (?:{label}))*(?: or (?:{label}))?"
    if not column.labels:
        value = rf"(?:{DATE})" if column.way == "date" else NUMBER + re.escape(own.get("unit", ""))
    ways = [column.way] if column.labels else list(conditions.COMPARED)
    names = {"head": column.head, "noun": own["noun"], "verb": own.get("verb", "no verb")}
    patterns = [each.format(x="\0", **names) for way in ways for each in EN[part].get(way, ())]
    return [
        re.compile(rf"{re.escape(before)}({value}){re.escape(after)}(?=[ ,;:.]|$)")
        for before, after in (pattern.split("\0") for pattern in patterns)
    ]


def conditions_in(sheet: rules.Sheet, text: str) -> tuple[str, list[list[bool]]]:
    """The text with A and B for its conditions, and which rows meet each of them."""
    every = [(column, form) for column in sheet.columns for form in forms_of(column, "clause")]
    for column in sheet.columns:
        for pattern in EN["note"]["decides"]:
            before = pattern.format(head=column.head, noun=column.words["noun"])
            if text.startswith(f"{before} "):
                text = text.removeprefix(f"{before} ")
                every = [(column, form) for form in forms_of(column, "bare")]
    met: list[list[bool]] = []
    while hits := [(m.start(), -len(m[0]), m, column) for column, form in every for m in form.finditer(text)]:
        *_, match, column = min(hits, key=lambda hit: hit[:2])
        met.append(met_by(column, match[0], match[1]))
        text = text.replace(match[0], "AB"[len(met) - 1])
    return text, met


def told_by(sheet: rules.Sheet, rule: notes.Rule) -> list[bool]:
    """For which rows a sentence says that the aspect holds."""
    tokens = {each.casefold(): slot.upper() for slot in rules.SLOTS for each in rule.aspect[slot]}
    said = re.compile(rf"(?<!\w)(?:{one_of(list(tokens))})(?!\w)", re.IGNORECASE)
    text, met = conditions_in(sheet, said.sub(lambda match: tokens[match[0].casefold()], rule.text))
    text = re.sub(rf"(?i)\b{sheet.rows}\b", "ROWS", text)
    if len(met) == 2:
        return [two(text)(a, b) for a, b in zip(*met, strict=True)]
    (one,) = met
    return [each is single(text) for each in one]


def two(text: str) -> Callable[[bool, bool], bool]:
    if re.search("not (?:even )?those B|A POS, except those B|even these|Of these, however", text):
        return lambda a, b: a and not b
    if re.search("A and B|also among those B|among those A and among those B", text):
        return lambda a, b: a and b
    if re.search("^Neither|^ROWS A NEG|POS except those A|^NO: ROWS A|two exceptions.*NEG", text):
        return lambda a, b: not (a or b)
    return lambda a, b: a or b


def single(text: str) -> bool:
    """Whether a sentence with one condition says that those that meet it have what it is about."""
    label = re.search(r"(YES|NO)(?::| goes for) (?:ROWS |those )?A\b", text)
    if label:
        return label[1] == "YES"
    before, after = re.split(r"\bA\b", text, maxsplit=1)
    said = re.search(r"\b(POS|NEG|YES|NO)\b", after)
    if said:
        turned = re.search("^No ROWS A|^(Except for|All but|Apart from)", text)
        return (said[0] in ("POS", "YES")) is not bool(turned)
    (said_before,) = re.findall(r"\b(?:POS|NEG|YES|NO)\b", before)
    assert re.search("except those|does not hold for", text), text
    return said_before in ("NEG", "NO")


def noted(rule: notes.Rule, column: conditions.Ruled) -> list[bool]:
    """For which rows a footnote says that the aspect holds: its mark stands behind a cell of the column."""
    mark = next(mark for mark in column.pool if rule.text.startswith(mark))
    labels = [each for slot in ("yes", "no") for each in rule.aspect[slot] if each in rule.text]
    is_yes = max(labels, key=len) in rule.aspect["yes"]
    return [cell.endswith(mark) is is_yes for cell in column.cells]


def granted(told: dict[str, str], code: str, aspect: notes.Aspect) -> bool:
    """Whether a key grants an aspect to a code, perhaps by naming another code."""
    parts = re.split(r", (?:but |with one change: |except: )?|; | \+ |except: |change: ", told[code])
    own = [part for part in parts if part in (*aspect["yes"], *aspect["no"])]
    if own:
        return own[-1] in aspect["yes"]
    other = re.match("(?:as|like|the same as) (.+?), ", told[code])
    assert other, told[code]
    return granted(told, other[1], aspect)


def read_again(sheet: rules.Sheet, rule: notes.Rule) -> list[bool]:
    told = {m[1]: sheet.note.text[a:b] for m, (a, b) in sheet.note.marks.items() if m[0] == "key"}
    column = sheet.columns[rule.decides[0]]
    if told and all(said in rule.text for said in told.values()):
        return [granted(told, cell, rule.aspect) for cell in column.cells]
    if column.way == "marks" and rule.text.startswith(column.pool):
        return noted(rule, column)
    return told_by(sheet, rule)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10**9))
def test_law_what_a_rule_lets_rows_do_follows_from_its_words_and_their_cells(seed: int) -> None:
    sheet = rules.drawn_sheet("en", random.Random(seed))
    for rule in sheet.rules:
        assert rule.text in sheet.note.text or "\n" not in sheet.note.text
        assert list(rule.holds) == read_again(sheet, rule), rule.text


@pytest.mark.parametrize("language", rules.RULED_IN)
def test_a_reply_goes_by_the_cells_that_decide_and_says_who_is_asked_for(language: str) -> None:
    words = rules.words_in(language)
    seen = Counter[str]()
    for number, page in enumerate(rules.pages(language, Filler([]), 60, 4)):
        sheet = rules.drawn_sheet(language, random.Random(f"rules {language} {number} 4"))
        document = Document(page.line(), "made", page.id, page.licence, page.language)
        (passage,) = read_passage(document, KINDS, 200)
        assert not isinstance(passage, Rejected)
        for asked in page.questions:
            reply = parse_rows(asked.answer)
            if reply is None:
                continue
            rule, wanted = asked_about(sheet, asked)
            rows = [sheet.names.index(entry.name) for entry in reply.entries]
            assert [e.value for e in reply.entries] == [sheet.columns[rule.decides[r]].cells[r] for r in rows]
            assert [e.holds for e in reply.entries] == [rule.holds[r] is wanted for r in rows]
            for entry, r in zip(reply.entries, rows, strict=True):
                assert entry.says in rule.aspect["yes" if rule.holds[r] else "no"]
            chosen = ", ".join(reply.chosen) or words["none"]
            if len(rows) == len(sheet.names):
                assert reply.answer in (chosen, str(len(reply.chosen)), *words["says"])
                seen[
                    "none" if not reply.chosen else "all" if all(e.holds for e in reply.entries) else "some"
                ] += 1
            else:
                assert reply.answer == words["says"][0 if reply.chosen else 1]
                seen["one"] += 1
            seen["asked for" if wanted else "not"] += 1
    assert all(seen[what] > 2 for what in ("none", "all", "some", "one", "asked for", "not")), seen


def asked_about(sheet: rules.Sheet, asked: Asked) -> tuple[notes.Rule, bool]:
    """The rule that answers, and whether what holds by it is asked for, by the words in the question."""
    question = asked.question.casefold()
    said = [
        (len(phrase), rule, slot in ("pos", "yes"))
        for rule in sheet.rules
        for slot in ("pos", "neg", "yes", "no")
        for phrase in rule.aspect[slot]
        if phrase.casefold() in question
    ]
    _, rule, is_yes = max(said, key=lambda each: each[0])
    turned = "not among|leave out|remain when|not true|gilt nicht|weglässt|no están entre|quitan|"
    turned += "ne sont pas parmi|ôte|"
    turned += "non sono tra|tolgono|nu sunt printre|deoparte|неверно|убрать|除くと|当たらない|去掉|不适用于"
    return rule, is_yes is not bool(re.search(turned, question))


@pytest.mark.parametrize("language", rules.RULED_IN)
def test_every_language_has_all_words_and_says_of_no_two_things_the_same(language: str) -> None:
    words = rules.words_in(language)
    assert set(EN) - set(words) <= {"aspects"}
    for part in ("clause", "bare", "rule", "key", "note", "ask"):
        assert set(words[part]) <= set(EN[part])
        assert set(EN[part]) - set(words[part]) <= {"neither_open"}
    for domain in words["domain"]:
        said = Counter[str]()
        for aspect in domain["aspects"]:
            own = words["aspects"][aspect] if isinstance(aspect, str) else aspect
            for slot in ("pos", "neg", "yes", "no"):
                assert own[slot]
                assert slot in ("pos", "neg") or not re.search(", |; |、|，", "".join(own[slot]))
                said.update(own[slot])
        assert max(said.values()) == 1, said.most_common(2)


def test_a_note_may_say_what_habit_would_not() -> None:
    """Of licences that anyone knows some are let into products and forbidden to be, and so are the others."""
    seen = Counter[tuple[str, bool]]()
    groups = {name: kind for kind in ("free", "bound") for name in EN["families"][kind]}
    for number in range(500):
        sheet = rules.drawn_sheet("en", random.Random(number))
        for rule in sheet.rules:
            if rule.aspect is not EN["aspects"]["trade"]:
                continue
            for r, c in enumerate(rule.decides):
                if sheet.columns[c].way == "family":
                    seen.update((groups[name], rule.holds[r]) for name in sheet.columns[c].labels[r])
    assert min(seen[group, holds] for group in ("free", "bound") for holds in (True, False)) > 10, seen
    assert seen["free", True] > seen["free", False]
    assert seen["bound", False] > seen["bound", True]


def test_rules_come_in_hundreds_of_wordings() -> None:
    texts, questions = set(), set()
    for page in rules.pages("en", Filler([]), 200, 5):
        questions |= {
            re.sub("“.*?”|[A-Z][^ ]*", "", asked.question) for asked in page.questions if asked.kind == "free"
        }
    for number in range(200):
        texts |= {rule.text for rule in rules.drawn_sheet("en", random.Random(number)).rules}
    assert len(texts) > 300
    assert len(questions) > 500
