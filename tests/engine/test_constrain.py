import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine.constrain import Vocabulary, best_spans, substring
from xgen.engine.score import read_rows, score

PIECES = [
    b" the",
    b"the",
    b" cat",
    b"cat",
    b" sat",
    b"s",
    b"at",
    b" on",
    b" mat",
    "é".encode(),
    "日本".encode(),
]
TOKENS = [bytes([i]) for i in range(256)] + PIECES + [b""] * (512 - 256 - len(PIECES))


def encode(text):
    """The longest token that fits, again and again."""
    rest, ids = text.encode(), []
    while rest:
        ids.append(
            max((i for i, t in enumerate(TOKENS) if t and rest.startswith(t)), key=lambda i: len(TOKENS[i]))
        )
        rest = rest[len(TOKENS[ids[-1]]) :]
    return ids


VOCABULARY = Vocabulary(TOKENS, encode)
QUOTE = torch.tensor([ord('"')])


def words_of(text):
    return re.findall(r"\w+|\s+|.", text, re.DOTALL)


def spans_of(model, texts, chunks_of=words_of, n_beams=8, max_tokens=24):
    """The best spans of each text, each behind a prompt of its own length."""
    prompts = [[1, 2, 3, *range(b)] for b in range(len(texts))]
    rows, logits, _ = read_rows(model, prompts, [1] * len(texts), n_beams * max_tokens)
    rules = [substring(VOCABULARY, chunks_of(text)) for text in texts]
    return best_spans(model, rows, logits, rules, QUOTE, n_beams, max_tokens), rows, logits


def written(span):
    return b"".join(TOKENS[i] for i in span.ids).decode()


texts = st.text(st.sampled_from('abc thé日本.,"\n😀'), min_size=1, max_size=40)
CHUNKS = st.sampled_from([words_of, list])


@given(text=texts, chunks_of=CHUNKS)
@settings(max_examples=40, deadline=None)
def test_law_every_span_stands_in_the_text(model, text, chunks_of):
    (spans,), *_ = spans_of(model, [text], chunks_of)
    assert spans
    for span in spans:
        assert written(span)
        assert written(span) in text
        assert span.logprob < 0
    assert [span.logprob for span in spans] == sorted((s.logprob for s in spans), reverse=True)


@given(some=st.lists(texts, min_size=2, max_size=4))
@settings(max_examples=15, deadline=None)
def test_law_texts_side_by_side_get_the_spans_of_each_alone(model, some):
    together, rows, _ = spans_of(model, some, n_beams=4, max_tokens=8)
    for b, (text, spans) in enumerate(zip(some, together, strict=True)):
        one, logits, _ = read_rows(model, [[1, 2, 3, *range(b)]], [1], 32)
        (alone,) = best_spans(model, one, logits, [substring(VOCABULARY, words_of(text))], QUOTE, 4, 8)
        assert [s.logprob for s in spans] == pytest.approx([s.logprob for s in alone], abs=2e-3)
        gaps = [a.logprob - b.logprob for a, b in itertools.pairwise(alone)]
        if all(gap > 2e-3 for gap in gaps):  # no ties whose order may turn
            assert [s.ids for s in spans] == [s.ids for s in alone]
    assert list(rows.lengths) == [3 + b for b in range(len(some))]


def test_words_are_whole(model):
    (spans,), *_ = spans_of(model, ["the cat sat on the mat"], n_beams=64)
    found = {written(span) for span in spans}
    assert len(found) > 5
    assert all(set(text.split()) <= {"the", "cat", "sat", "on", "mat"} for text in found)


def test_law_enough_beams_find_the_very_best(model):
    text = "the cat sat"
    (spans,), rows, logits = spans_of(model, [text], n_beams=400, max_tokens=5)

    def writings(goal, used=()):
        if not goal:
            yield used
        elif len(used) < 5:
            for index, token in enumerate(TOKENS):
                if token and goal.startswith(token):
                    yield from writings(goal[len(token) :], (*used, index))

    goals = [
        b"the",
        b"cat",
        b"sat",
        b"the cat",
        b"cat sat",
        b"the cat sat",
        b" ",
        b"the ",
        b" cat",
        b" cat sat",
        b" sat",
        b"cat ",
        b"the cat ",
        b" cat ",
    ]
    every = [ids for goal in goals for ids in writings(goal)]
    totals = score(model, rows, logits, [[*ids, int(QUOTE)] for ids in every])[0]
    best = max(range(len(every)), key=lambda i: totals[i])
    assert spans[0].ids == every[best]
    assert abs(spans[0].logprob - totals[best]) < 1e-3


def test_ids_without_text_are_never_allowed():
    rule = substring(VOCABULARY, list("the cat \x00 sat"))
    allowed = rule.allowed().tolist()
    assert allowed == sorted(set(allowed))
    assert all(TOKENS[i] for i in allowed)
    assert set(allowed) >= {ord("t"), 257, 258, 0}


@given(text=texts, chunks_of=CHUNKS, n=st.integers(0, 12), pick=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_law_allowed_is_what_can_be_taken(text, chunks_of, n, pick):
    rule, so_far = substring(VOCABULARY, chunks_of(text)), b""
    for _ in range(n):
        allowed = rule.allowed().tolist()
        if not allowed:
            break
        refused = next(i for i in range(256) if i not in allowed)
        with pytest.raises(ValueError, match=f"id {refused} is not allowed"):
            rule.take(refused)
        token = allowed[pick % len(allowed)]
        rule, so_far = rule.take(token), so_far + TOKENS[token]
        assert so_far in text.encode()


def can_be_written(rule, goal):
    if not goal:
        return rule.complete()
    fitting = [i for i in rule.allowed().tolist() if goal.startswith(TOKENS[i])]
    return any(can_be_written(rule.take(i), goal[len(TOKENS[i]) :]) for i in fitting)


@given(text=texts, chunks_of=CHUNKS, start=st.integers(0, 40), length=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_law_every_run_of_chunks_can_be_written(text, chunks_of, start, length):
    chunks = chunks_of(text)
    run = "".join(chunks[start % len(chunks) :][:length])
    assert can_be_written(substring(VOCABULARY, chunks), run.encode())
