"""Made questions of every kind but facts: what is asked stands at one place, what is absent nowhere."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from xgen.data.document import Document, Rejected
from xgen.data.made import families, kinds, licences, lists, rules, siblings, spans, tables
from xgen.data.made.page import Page
from xgen.data.made.recipe import load_made_recipe, write_questions
from xgen.data.made.texts import Filler, Text
from xgen.data.made.words import ASKING, LANGUAGES, asks_of
from xgen.data.questions import KINDS, read_passage
from xgen.errors import BadRecipe

SOME = "harbour,winter,letter,captain,garden,stone,market,window,river,mountain,teacher,morning,castle,bridge"
WORDS = re.split(",", f"{SOME},orchard,lantern,village,journey,silver,forest,machine,number,colour,summer")


def prose(seed: int, n_paragraphs: int = 6) -> str:
    """A text with headings whose sentences nobody else has."""
    draw = random.Random(seed)
    parts = []
    for n in range(n_paragraphs):
        if n % 3 == 0:
            parts.append(f"{draw.choice(WORDS).title()} {draw.choice(WORDS)} number {chr(97 + n)}{seed}")
        sentences = [
            f"The {draw.choice(WORDS)} near the {draw.choice(WORDS)} holds a {draw.choice(WORDS)} and "
            f"{draw.randint(100, 9999)} more of the {draw.choice(WORDS)} from the {draw.choice(WORDS)}."
            for _ in range(4)
        ]
        parts.append(" ".join(sentences))
    return "\n".join(parts)


def texts(language: str = "en") -> list[Text]:
    return [Text(f"t/{n}", language, f"title {n // 4}", prose(n), "CC0-1.0") for n in range(24)]


def asked_texts() -> list[Text]:
    """Texts of six titles with four paragraphs each, three questions a paragraph; kin share three words."""
    found = []
    draw = random.Random("words of no language")
    words = iter(sorted({"".join(draw.choices("bdfgklmnprst", k=5)) for _ in range(900)}))
    for title in range(6):
        topic = " ".join(next(words) for _ in range(3))
        for n in range(4):
            facts = [(f"{next(words)} {next(words)}", next(words)) for _ in range(3)]
            text = " ".join(f"In the {topic} the {key} has the {value} of old." for key, value in facts)
            questions = tuple(
                {
                    "question": f"What does the {key} of the {topic} have?",
                    "type": "extractive",
                    "answers": [{"text": value, "start": text.index(value)}],
                }
                for key, value in facts
            )
            found.append(Text(f"q/{title}.{n}", "en", topic, text, f"L-{n % 2}", questions))
    return found


def every_page() -> list[Page]:
    filler = Filler(texts())
    return [
        *lists.pages("en", filler, 6, 1),
        *lists.pages("ja", Filler([]), 4, 1),
        *licences.pages("en", filler, 12, 1),
        *tables.pages("en", filler, 6, 1),
        *families.pages(filler, 6, 1),
        *rules.pages("en", filler, 6, 1),
        *spans.pages("en", texts(), 6, 1),
        *siblings.pages("en", asked_texts(), 12, 1),
        *kinds.pages_of("foreign", "en", {"en": texts()}, 7, 1),
    ]


def test_every_page_is_read_whole_by_what_makes_groups() -> None:
    pages = every_page()
    assert {page.id.partition("-")[0] for page in pages} == {
        "lists",
        "licences",
        "tables",
        "families",
        "rules",
        "spans",
        "siblings",
        "facts",
    }
    for page in pages:
        document = Document(page.line(), "made", page.id, page.licence, page.language)
        found = list(read_passage(document, KINDS, 200))
        assert not any(isinstance(each, Rejected) for each in found), page.id
        (passage,) = found
        assert not isinstance(passage, Rejected)
        assert len(passage.questions) == len(page.questions)


def one_sign_apart(one: str, other: str) -> bool:
    """One sign changed, two neighbours exchanged, or one part between dots another."""
    if "." in one:
        return sum(a != b for a, b in zip(one.split("."), other.split("."), strict=True)) == 1
    differing = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    swapped = len(differing) == 2 and differing[1] == differing[0] + 1
    return len(differing) == 1 or (swapped and sorted(one) == sorted(other))


def test_a_listed_key_stands_once_and_an_absent_one_is_a_twin_of_one_that_does() -> None:
    n_twins = 0
    for page in lists.pages("en", Filler([]), 12, 3):
        keys = set(
            re.findall(r"[A-Z]{2}-\d{4}|[a-z]+(?:\.[a-z]+){1,2}|(?:Rack|Unit|Gate|Zone) \w+", page.text)
        )
        for asked in page.questions:
            named = [key for key in keys if re.search(rf"\b{re.escape(key)}\b", asked.question)]
            if asked.answer and named:
                assert page.text.count(named[0]) == 1
            if not asked.answer:
                key = re.search(
                    r"[A-Z]{2}-\d{4}|[a-z]+(?:\.[a-z]+){1,2}|(?:Rack|Unit|Gate|Zone) \w+", asked.question
                )
                if key:
                    assert key[0] not in page.text
                    n_twins += any(
                        len(k) == len(key[0]) and one_sign_apart(k, key[0]) for k in keys if "." not in k
                    )
    assert n_twins > 5


def test_a_twin_is_near() -> None:
    draw = random.Random(7)
    for key in ("AX-4417", "cache.read", "Velmora", "Rack 12B") * 20:
        other = lists.twin(key, draw)
        assert other != key
        assert one_sign_apart(key, other)


def test_a_gap_is_filled_by_one_place_only_and_an_absent_one_is_of_another_text() -> None:
    asks = asks_of("en")
    forms = [
        re.escape(form).replace(r"\{before\}", "(.+?)").replace(r"\{after\}", "(.+)") for form in asks["gap"]
    ]
    kinds_seen = Counter[str]()
    for page in spans.pages("en", texts(), 12, 4):
        flat = " ".join(page.text.split())
        for asked in page.questions:
            gap = next((m for form in forms if (m := re.fullmatch(form, asked.question))), None)
            quoted = re.findall("“(.+?)”", asked.question)
            if gap and asked.answer:
                whole = f"{gap[1]} {asked.answer} {gap[2]}"
                assert flat.count(whole) == 1
                kinds_seen["gap"] += 1
            elif not asked.answer:
                assert quoted[0].split(" … ")[0] not in flat
                kinds_seen["absent"] += 1
            elif any(asked.question == form.format(sentence=quoted[0]) for form in asks["under"]):
                ((start, end),) = asked.places
                between = page.text[end : page.text.index(quoted[0])]
                assert page.text[start:end] == asked.answer
                assert not re.search(r"\n\w+ \w+ number ", between)  # no other heading is nearer
                kinds_seen["under"] += 1
            elif any(asked.question == form.format(heading=quoted[0]) for form in asks["follows"]):
                heads = re.findall(r"^\w+ \w+ number \w+$", page.text, re.MULTILINE)
                assert heads[heads.index(quoted[0]) + 1] == asked.answer
                kinds_seen["follows"] += 1
    assert min(kinds_seen[kind] for kind in ("gap", "absent", "under", "follows")) > 2


def test_what_a_sibling_lacks_is_nowhere_in_its_text_and_what_it_has_is_in_one_paragraph() -> None:
    known = {q["question"]: (text, q) for text in asked_texts() for q in text.questions}
    n_absent = n_kin = 0
    for page in siblings.pages("en", asked_texts(), 12, 5):
        paragraphs = page.text.split("\n\n")
        for asked in page.questions:
            text, question = known[asked.question]
            answer = question["answers"][0]["text"]
            if asked.answer:
                assert [answer in paragraph for paragraph in paragraphs].count(True) == 1
                continue
            n_absent += 1
            n_kin += any(f"In the {text.title} " in paragraph for paragraph in paragraphs)
            assert answer not in page.text
            assert text.text not in paragraphs
    assert n_absent > 10
    assert n_kin > 0.8 * n_absent


def test_all_languages_have_all_words() -> None:
    for language in ASKING:
        asks = asks_of(language)
        assert set(asks) - {"next", "described", "what", "is"} == {
            "value",
            "cell",
            "row",
            "gap",
            "under",
            "follows",
            "heads",
        }
        assert len(asks["heads"]) == 1 + len(lists.VALUES)
    assert set(LANGUAGES) <= set(ASKING)


def recipe(tmp_path: Path, **fields: object) -> Path:
    lines = tmp_path / "own.jsonl"
    rows = [{"id": t.id, "lang": t.language, "title": t.title, "text": t.text, "questions": list(t.questions)}
            for t in [*texts(), *asked_texts()]]  # fmt: skip
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    path = tmp_path / "made.toml"
    values = {"name": "mine", "seed": 3, **fields}
    body = "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
    files = '\n[files]\n"own.jsonl" = "CC-BY-4.0"\n' if "files" not in fields else "\n"
    path.write_text(body + files + "[pages.siblings]\nen = 4\n[pages.lists]\nde = 2\n[pages.spans]\nen = 2\n")
    return path


def test_a_recipe_makes_the_same_files_twice_and_others_by_another_seed(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    written = list(write_questions(path, tmp_path / "one"))
    assert [each.path.name for each in written] == [
        "siblings-en.jsonl.gz",
        "lists-de.jsonl.gz",
        "spans-en.jsonl.gz",
    ]
    list(write_questions(path, tmp_path / "two"))
    list(write_questions(recipe(tmp_path, seed=4), tmp_path / "three"))
    for each in written:
        name = each.path.name
        assert (tmp_path / "two" / name).read_bytes() == each.path.read_bytes()
        assert (tmp_path / "three" / name).read_bytes() != each.path.read_bytes()


def test_documents_held_back_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "held.json").write_text(json.dumps({"own": {t.id: 1 for t in asked_texts()[4:]}}))
    path = recipe(tmp_path, held_back="held.json")
    with pytest.raises(BadRecipe, match=r"siblings\.en: its texts give no such question"):
        list(write_questions(path, tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('"own.jsonl" = "CC-BY-4.0"', '"own.jsonl" = ""'), "no licence is stated"),
        (("own.jsonl", "gone.jsonl"), "there is no such file"),
        (("[pages.lists]\nde", "[pages.lists]\nxx"), "pages.lists: there are no words in xx"),
        (("[pages.lists]", "[pages.riddles]"), "there is no kind riddles"),
        (("de = 2", "de = -2"), "is below 0"),
        (("seed", "sead"), "sead"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_one_sentence(
    tmp_path: Path, change: tuple[str, str], sentence: str
) -> None:
    path = recipe(tmp_path)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(BadRecipe, match=sentence):
        list(write_questions(path, tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*")) or sentence == ""


def test_the_shipped_recipe_can_be_read() -> None:
    made = load_made_recipe(Path(__file__).parents[3] / "recipes" / "made.toml")
    assert set(made.pages) == set(kinds.KINDS)


def descriptions() -> list[Text]:
    """Descriptions of 480 programs, each in German and in English, that share words by fours."""
    draw = random.Random("descriptions")
    found = []
    for n in range(480):
        name = "".join(draw.choices("bdfgklm", k=7)).capitalize()
        own = ["".join(draw.choices("rstvnpw", k=6)) for _ in range(4)]
        common = " ".join(f"{word}{n % 120}" for word in ("werk", "zeug", "ding", "amt"))
        for language, verb in (("de", "ist ein"), ("en", "is a")):
            body = (
                f"{name} {verb} {common} {own[1]}{language}, {own[0]}{language} {own[2]}{language} {own[3]}."
            )
            synopsis = f"{own[3]}{own[2]}{language} {own[2]}{language} {common} {own[1]}{language}"
            title = f"main:{language}:{name.casefold()}"
            found.append(Text(f"descriptions/{title}", language, title, f"{synopsis}\n\n{body}", "DFSG"))
    return found


def test_a_program_is_asked_for_by_its_own_line_and_that_line_is_not_in_the_text() -> None:
    texts = descriptions()
    every = {language: [t for t in texts if t.language == language] for language in ("de", "en")}
    lines = {t.text.split("\n\n")[0]: t for t in texts}
    seen = Counter[str]()
    for page in kinds.pages_of("named", "de", every, 12, 1):
        paragraphs = page.text.split("\n\n")
        for asked in page.questions:
            meant = next((t for line, t in lines.items() if line in asked.question), None)
            if meant is None:  # what is it?
                name = next(p.split()[0] for p in paragraphs if p.split()[0] in asked.question)
                (own,) = (p for p in paragraphs if p.startswith(f"{name} "))
                assert own.startswith(f"{name} ist {asked.answer},")
                seen["what"] += 1
                continue
            assert meant.text.split("\n\n")[0] not in page.text
            name = meant.title.rpartition(":")[2]
            german = next(t for t in every["de"] if t.title.endswith(f":{name}"))
            is_there = german.text.split("\n\n")[1] in paragraphs
            assert is_there == bool(asked.answer)
            assert not asked.answer or asked.answer.casefold() == name
            seen[meant.language if asked.answer else "absent"] += 1
    assert min(seen[kind] for kind in ("what", "de", "en", "absent")) > 3, seen


def test_questions_that_are_none_are_not_asked() -> None:
    good = {"question": "Who?", "type": "extractive", "answers": [{"text": "Ada", "start": 0}]}
    bad = [
        {},
        good | {"answers": []},
        good | {"answers": None},
        good | {"question": 3},
        good | {"answers": [{"text": "Ada"}]},
        good | {"answers": [{"text": "Ada", "start": 1}]},
        good | {"answers": [{"text": "Ada", "start": -3}]},
        good | {"answers": [{"text": "Ada", "start": 0}, "Ada"]},
        good | {"type": "yesno"},
    ]
    text = Text("t", "en", "", "Ada was here.", "MIT", (*bad, good))
    assert siblings.spans(text) == [good]
