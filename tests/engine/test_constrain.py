import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine.cache import Cache
from xgen.engine.constrain import Vocabulary, best_spans, substring
from xgen.engine.generate import prefill
from xgen.engine.score import score

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
VOCABULARY = Vocabulary(TOKENS)
QUOTE = torch.tensor([ord('"')])


def spans_of(model, text, by_characters=False, n_beams=8, max_tokens=24):
    cache = Cache.empty(model, 1000)
    logits = prefill(model, cache, [1, 2, 3])
    rule = substring(VOCABULARY, text, by_characters)
    spans = best_spans(model, cache, logits, rule, QUOTE, n_beams, max_tokens)
    assert cache.length == 3
    return spans, cache, logits


texts = st.text(st.sampled_from('abc thé日本.,"\n😀'), min_size=1, max_size=40)


@given(text=texts, by_characters=st.booleans())
@settings(max_examples=40, deadline=None)
def test_law_every_span_stands_in_the_text(model, text, by_characters):
    for span in spans_of(model, text, by_characters)[0]:
        written = b"".join(TOKENS[i] for i in span.ids).decode()
        assert written
        assert written in text


def test_words_are_whole(model):
    spans, *_ = spans_of(model, "the cat sat on the mat", n_beams=64)
    words = {"the", "cat", "sat", "on", "mat"}
    written = {b"".join(TOKENS[i] for i in span.ids).decode() for span in spans}
    assert len(written) > 5
    assert all(set(text.split()) <= words for text in written)


def test_law_enough_beams_find_the_very_best(model):
    text = "the cat sat"
    spans, cache, logits = spans_of(model, text, n_beams=400, max_tokens=5)

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
    totals = score(model, cache, logits, [[*ids, int(QUOTE)] for ids in every])
    best = max(range(len(every)), key=lambda i: totals[i])
    assert spans[0].ids == every[best]
    assert abs(spans[0].logprob - totals[best]) < 1e-3


def test_ids_without_text_are_never_allowed():
    rule = substring(VOCABULARY, "the cat \x00 sat", by_characters=True)
    allowed = rule.allowed()
    assert allowed.shape == (512,)
    assert not allowed[256 + len(PIECES) :].any()
    assert set(torch.nonzero(allowed).flatten().tolist()) >= {ord("t"), 257, 258, 0}
