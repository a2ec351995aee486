import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.read.summarize import Similarity, candidates, centrality, choose, shares, summarize
from xgen.text.document import Document
from xgen.text.sentences import sentence_spans

TOPIC = """
The harbour of Velm handles forty ships a day in the summer months.
Ships that reach the harbour of Velm wait for a pilot before they enter.
A pilot from the harbour guides every large ship between the two piers.
The piers of the harbour were rebuilt after the storm of 1953.
Cranes on the northern pier unload ships that carry grain and timber.
Grain from the ships is stored in silos behind the harbour office.
The harbour office keeps a list of all ships and of their cargo.
Every pilot of the harbour has served on large ships for ten years.
"""
ASIDE = "Schoolchildren paint the lighthouse windows with birds and fishes each spring."
MINOR = """
Schoolchildren paint the windows of the lighthouse with birds and fishes.
The lighthouse windows were white before the schoolchildren came to paint.
Birds on the lighthouse windows are the work of the youngest schoolchildren.
"""
CHINESE = (
    "长城是中国古代的军事防御工程。长城东起山海关，西至嘉峪关，全长超过两万公里。"
    "明朝修建的长城保存得最为完整。今天每年有数百万游客参观北京附近的长城。"
    "修建长城使用了砖石、泥土和木材等多种材料。科学家用卫星测量长城的长度和位置。"
)


def texts(documents: list[Document], n: int | None = None, question: str = "") -> list[str]:
    return [sentence.text for sentence in summarize(documents, n, question).sentences]


def of(text: str) -> list[Document]:
    return [Document("a.txt", text)]


sentences_of_words = st.lists(
    st.lists(st.sampled_from(["river", "stone", "tower", "market", "bridge", "winter", "people"]), min_size=6)
    .map(lambda words: f"{words[0].title()} {' '.join(words[1:])}.")
    .filter(lambda sentence: len(sentence) < 300),
    min_size=1,
    max_size=12,
)
any_document = st.one_of(st.text(max_size=300), sentences_of_words.map(" ".join))


@given(st.lists(any_document, min_size=1, max_size=3), st.one_of(st.none(), st.integers(1, 8)))
def test_law_every_sentence_stands_in_its_document_once_and_in_order(found: list[str], n: int | None) -> None:
    documents = [Document(f"{i}.txt", text) for i, text in enumerate(found)]
    summary = summarize(documents, n)
    places = []
    for sentence in summary.sentences:
        citation = sentence.citation
        assert citation is not None
        number = int(citation.path.removesuffix(".txt"))
        assert sentence.text == citation.quote == documents[number].text[citation.start : citation.end]
        assert documents[number].place(citation.start).line == citation.line
        places.append((number, citation.start, citation.end))
    assert places == sorted(set(places))
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(places))
    assert n is None or len(places) <= n
    assert summary.coverage


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(1, 30))
def test_law_shares_leave_nothing_over_and_nobody_out(sizes: list[int], n: int) -> None:
    given_to = shares(sizes, n)
    assert sum(given_to) == min(n, sum(sizes))
    assert all(0 <= share <= size for share, size in zip(given_to, sizes, strict=True))
    if n >= len(sizes):
        assert all(share or not size for share, size in zip(given_to, sizes, strict=True))


def test_against_linear_algebra_scores_are_the_walks_eigenvector() -> None:
    sentences = [line.casefold().rstrip(".").split() for line in TOPIC.strip().splitlines()]
    vocabulary = sorted({word for sentence in sentences for word in sentence})
    counts = np.array([[Counter(s)[word] for word in vocabulary] for s in sentences], dtype=float)
    weights = counts * np.log((1 + len(sentences)) / (counts > 0).sum(axis=0))
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0)
    walk = 0.85 * cosines / cosines.sum(axis=1, keepdims=True) + 0.15 / len(sentences)
    values, vectors = np.linalg.eig(walk.T)
    expected = np.abs(vectors[:, np.argmax(values.real)].real)
    assert np.allclose(centrality(Similarity(sentences)), expected / expected.max(), atol=1e-4)


@pytest.mark.parametrize("minor_first", [False, True])
def test_a_minor_topic_is_covered_beside_the_dominant_one(minor_first: bool) -> None:
    chosen = texts(of(MINOR + TOPIC if minor_first else TOPIC + MINOR), 4)
    n_minor = sum("lighthouse" in sentence for sentence in chosen)
    assert 1 <= n_minor < len(chosen)


def test_law_order_of_documents_changes_the_order_only() -> None:
    english = Document("harbour.txt", TOPIC)
    chinese = Document("wall.txt", CHINESE)
    one_way, other_way = texts([english, chinese], 5), texts([chinese, english], 5)
    assert one_way != other_way
    assert sorted(one_way) == sorted(other_way)


def test_near_duplicates_are_said_once() -> None:
    repeated = "The annual report of the company was published on Monday in London."
    again = "The annual report of the company was published on Monday in London, too."
    text = f"{repeated}\n\n{TOPIC}\n\n{again}\n\n{repeated}"
    assert sum("annual report" in sentence for sentence in texts(of(text), 9)) == 1
    two = [Document("a.txt", f"{repeated}\n{TOPIC}"), Document("b.txt", f"{repeated}\n{CHINESE}")]
    assert texts(two, 20).count(repeated) == 1


def test_headings_rows_and_stubs_are_passed_over() -> None:
    text = (
        f"# The harbour of Velm\n\n| ships | pilots |\n|---|---|\n| forty | six |\n\n- ships\n\n{TOPIC}\n12\n"
    )
    chosen = texts(of(text), 30)
    assert chosen
    assert set(chosen) <= set(TOPIC.strip().splitlines())


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("However, the pilots of the harbour guide every ship.", True),
        ("As first published they named another harbour for the ships.", True),
        ("For example, a pilot of the harbour guides the ships.", True),
        ("- A pilot of the harbour guides the ships.", True),
        ('Go now," said the pilot of the harbour to the captain.', True),
        ("Doch der Hafen von Velm ist im Winter geschlossen.", True),
        ("但是长城的大部分已经倒塌了。", True),
        ("Die Lotsen des Hafens von Velm begleiten jedes Schiff.", False),
        ('"Go now," said the pilot of the harbour to the captain.', False),
        ("Pilots of the harbour say that they guide every ship.", False),
        ("长城的大部分已经倒塌了。", False),
    ],
)
def test_a_sentence_leans_as_a_person_would_say(sentence: str, expected: bool) -> None:
    (candidate,) = candidates(sentence, [(0, len(sentence))])
    assert candidate.leans is expected


def test_a_leaning_sentence_is_worth_less_until_the_one_before_is_chosen() -> None:
    text = TOPIC.strip()
    sentences = candidates(text, sentence_spans(text))
    best, *others = choose(sentences, [len(sentences)])
    leaning = [replace(s, leans=i == best) for i, s in enumerate(sentences)]
    assert choose(leaning, [1]) != [best]
    follower = next(i for i in others if sentences[i].number == sentences[best].number + 1)
    leaning = [replace(s, leans=i == follower) for i, s in enumerate(sentences)]
    assert choose(leaning, [len(sentences)]) == [best, *others], "it rests on the one chosen first"


def test_a_part_that_has_been_heard_waits_for_the_others() -> None:
    text = TOPIC.strip()
    apart = [replace(s, part=i) for i, s in enumerate(candidates(text, sentence_spans(text)))]
    first, second, *_ = choose(apart, [2])
    together = [replace(s, part=first) if i == second else s for i, s in enumerate(apart)]
    assert choose(together, [2])[0] == first
    assert second not in choose(together, [2])


def test_the_first_of_equals_is_the_first() -> None:
    assert texts(of("\n".join(MINOR.strip().splitlines() + TOPIC.strip().splitlines())), 1)[0] in MINOR
    assert texts(of(f"{TOPIC}{MINOR}"), 1)[0] in TOPIC


@pytest.mark.parametrize(
    "line", ["Sum 17.22 18.44 91.12 33.16 55.81 1.20.", "Ships came.", "and a pilot of the harbour of Velm."]
)
def test_figures_stubs_and_fragments_are_no_sentences(line: str) -> None:
    assert line not in texts(of(f"{TOPIC}\n\n{line}\n"), 30)


def test_one_full_stop_does_not_make_verse_prose() -> None:
    verse = "\n\n".join(f"A line of verse number {i} that nobody ends" for i in range(9))
    assert len(texts(of(f"{verse}\n\nIt is signed by the poet of Velm."), 4)) == 4


def test_list_marks_are_left_out_of_what_is_quoted() -> None:
    items = [f"- {line}" for line in TOPIC.strip().splitlines()]
    assert all(sentence.startswith(tuple("TSAGCE")) for sentence in texts(of("\n".join(items)), 3))


def test_chinese_has_whole_sentences() -> None:
    chosen = texts(of(CHINESE), 3)
    assert len(chosen) == 3
    assert all(sentence.endswith("。") and sentence.count("。") == 1 for sentence in chosen)


@pytest.mark.parametrize(
    "text",
    [
        "ธรรมชาติของภาษาไทย\n\nไม่มีเครื่องหมายจบประโยค",
        "A line of verse without a mark\n\nAnother line of verse that follows",
    ],
)
def test_a_text_without_marks_gives_its_lines(text: str) -> None:
    assert texts(of(text), 2) == text.split("\n\n")


@pytest.mark.parametrize("text", ["", " \n\n ", "***\n---"])
def test_a_document_without_words_has_no_sentence(text: str) -> None:
    summary = summarize(of(text))
    assert summary.sentences == ()
    assert summary.coverage == "there is nothing to summarize"


def test_one_sentence_is_its_own_summary() -> None:
    summary = summarize(of("It rained.\n"))
    assert [sentence.text for sentence in summary.sentences] == ["It rained."]
    assert summary.coverage == "its only sentence was read; the one chosen stands in part 1 of 10"


def test_a_question_draws_what_is_near_it() -> None:
    text = "\n".join([TOPIC.strip(), ASIDE])
    assert ASIDE not in texts(of(text), 1)
    assert texts(of(text), 1, "Who paints the lighthouse windows?") == [ASIDE]


def test_coverage_counts_what_was_read() -> None:
    pages = ["Heading\n\n" + TOPIC, ASIDE + "\n"]
    document = Document("a.pdf", "".join(pages), (0, len(pages[0])), dropped=("page 3 has no text layer",))
    summary = summarize([document], 20)
    assert summary.coverage.startswith(
        "all 9 sentences on 2 pages were read, 1 heading, row or short line passed over "
        "(page 3 has no text layer); the "
    )
    assert summary.coverage.endswith(" of 10")
    both = summarize([document, Document("b.txt", CHINESE)], 1)
    assert both.coverage.startswith("a.pdf: all 9 sentences")
    assert both.coverage.endswith("b.txt: all 6 sentences were read; none of them was chosen")


def test_every_document_is_heard() -> None:
    documents = [Document(f"{i}.txt", line) for i, line in enumerate(TOPIC.strip().splitlines())]
    assert len(texts([*documents, Document("long.txt", CHINESE)])) == len(documents) + 1


def test_no_sentences_is_refused() -> None:
    with pytest.raises(ValueError, match="0 sentences"):
        summarize(of(TOPIC), 0)


def test_sixty_thousand_characters_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    text = ""
    while len(text) < 60_000:
        words = [f"w{i}" for i in rng.zipf(1.4, size=15) if i < 5000]
        text += f"The {' '.join(words)} of it all.\n"
    started = time.process_time()
    summarize(of(text))
    assert time.process_time() - started < 1


def test_parts_are_those_of_the_text() -> None:
    text = "\n".join(TOPIC.strip().splitlines() * 3)
    for candidate in candidates(text, sentence_spans(text)):
        assert candidate.part / 10 <= candidate.start / len(text) < (candidate.part + 1) / 10
