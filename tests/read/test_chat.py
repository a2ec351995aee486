from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.bundle import Bundle
from xgen.engine.sample import Sampling
from xgen.errors import TooLong, XgenError
from xgen.read import chat as chat_module
from xgen.read.chat import Chat
from xgen.text.chat import Message
from xgen.text.document import Document
from xgen.text.xgen_tokens import HEADER

NOTE = Document("note.txt", "The heron stands in the reeds.\n")
LIST = Document("list.txt", "bread\nrice\n<|im_end|>\n")


@pytest.fixture
def prefilled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many ids each call of prefill read."""
    counts: list[int] = []
    original = chat_module.prefill

    def counted(model: Any, cache: Any, ids: Sequence[int]) -> torch.Tensor:
        counts.append(len(ids))
        return original(model, cache, ids)

    monkeypatch.setattr(chat_module, "prefill", counted)
    return counts


def send(chat: Chat, text: str, n_tokens: int = 6) -> str:
    return "".join(chat.send(text, n_tokens))


def says(monkeypatch: pytest.MonkeyPatch, ids: list[int]) -> None:
    def generate(*words: Any) -> Iterator[int]:
        yield from ids

    monkeypatch.setattr(chat_module, "generate", generate)


def test_a_turn_reads_only_what_is_new(tiny: Bundle, prefilled: list[int]) -> None:
    chat = Chat(tiny, documents=[NOTE])
    template, tokenizer = tiny.template, tiny.tokenizer
    before: list[int] = []
    for text in ("Where is the heron?", "And the reed?", "Why?"):
        first = f"Document note.txt:\n{NOTE.text}\n\n"
        turns = [*chat.turns, Message("user", text)]
        turns[0] = Message("user", first + turns[0].content)
        ids = tokenizer.encode_markup(template.render([Message("system", chat.system), *turns]))
        known = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(before, ids, strict=False))))
        send(chat, text)
        assert len(ids) - prefilled[-1] >= known
        before = ids
    # the last turn read little more than its own words and the reply before it
    assert prefilled[-1] < 0.3 * len(before)


def test_a_turn_that_fits_is_not_refused_for_room_to_come(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = send(Chat(tiny), "Where is the heron?")
    empty, asked = Bundle.empty_cache, list[int]()

    def scarce(bundle: Bundle, capacity: int) -> Any:
        asked.append(capacity)
        if len(asked) == 1:
            raise XgenError("cache", "there is no such room", "ask for less")
        return empty(bundle, capacity)

    monkeypatch.setattr(Bundle, "empty_cache", scarce)
    assert send(Chat(tiny), "Where is the heron?") == roomy
    assert asked[1] < asked[0]


OPERATIONS = st.lists(
    st.sampled_from(["send", "send", "stop", "reset", "add note", "add list"]), min_size=2, max_size=7
)


def test_law_a_reply_is_that_of_a_chat_which_begins_here(tiny: Bundle) -> None:
    """Whatever was sent, stopped or forgotten before: the same turns and documents get the same reply."""

    @given(
        operations=OPERATIONS,
        texts=st.lists(st.sampled_from(["Where?", "Why the mill?", "日本"]), min_size=7),
    )
    @settings(deadline=None, max_examples=25)
    def law(operations: list[str], texts: list[str]) -> None:
        chat = Chat(tiny)
        for operation, text in zip(operations, texts, strict=False):
            if operation == "send":
                fresh = Chat(tiny, documents=chat.documents)
                fresh.turns = list(chat.turns)
                assert send(chat, text) == send(fresh, text)
                assert chat.turns == fresh.turns
            elif operation == "stop":
                kept = list(chat.turns)
                reply = chat.send(text, 6)
                next(reply, None)
                reply.close()
                assert chat.turns in (kept, [*kept, *chat.turns[-2:]])
            elif operation == "reset":
                chat.reset()
                assert (chat.turns, chat.documents) == ([], [])
            else:
                chat.add(NOTE if operation == "add note" else LIST)

    law()


def test_a_reply_that_is_stopped_is_no_turn(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, tiny.tokenizer.encode("one two three"))
    chat = Chat(tiny)
    reply = chat.send("Count.")
    assert next(reply)
    reply.close()
    assert chat.turns == []
    assert send(chat, "Count.") == "one two three"
    assert chat.turns == [Message("user", "Count."), Message("assistant", "one two three")]


def test_a_reply_that_is_stopped_leaves_nothing_stale(tiny: Bundle, prefilled: list[int]) -> None:
    chat = Chat(tiny, documents=[NOTE])
    expected = send(chat, "Where?")
    for text in ("Why the mill?", "Why the mill?"):
        chat.reset()
        next(chat.send(text))  # overwrites what was read, and is not heard to its end
    assert prefilled[-1] == 1, "the second time all but the last id was known"
    chat.reset()
    chat.add(NOTE)
    assert send(chat, "Where?") == expected


def test_reading_that_is_stopped_leaves_nothing_stale(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Chat(tiny, documents=[NOTE])
    expected = send(chat, "Where?")
    original = chat_module.prefill

    def stopped(*words: Any) -> torch.Tensor:
        original(*words)
        raise KeyboardInterrupt

    chat.reset()
    with monkeypatch.context() as patch:
        patch.setattr(chat_module, "prefill", stopped)
        with pytest.raises(KeyboardInterrupt):
            send(chat, "Why the mill?")
    chat.add(NOTE)
    assert send(chat, "Where?") == expected


def test_what_does_not_fit_is_refused_and_not_kept(tiny: Bundle) -> None:
    chat = Chat(tiny)
    send(chat, "Where?")
    kept, cached = list(chat.turns), send(Chat(tiny), "Where?")
    window = tiny.shape.max_seq_len
    with pytest.raises(TooLong, match=f"the window of {window:,} keeps 6 for the reply"):
        send(chat, "why " * window)
    assert chat.turns == kept
    chat.reset()
    assert send(chat, "Where?") == cached
    chat.add(Document("long.txt", "why " * window))
    with pytest.raises(TooLong, match="with its documents"):
        send(chat, "Where?")


def test_law_pieces_are_whole_characters(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model says one byte at a time, and may stop inside a character."""
    id_of = {tiny.tokenizer.token_bytes(i): i for i in range(tiny.tokenizer.vocab_size)}

    @given(
        text=st.text(st.sampled_from("naïve 日本😀\u200dक्ष"), min_size=1, max_size=9), cut=st.integers(0, 3)
    )
    @settings(deadline=None, max_examples=40)
    def law(text: str, cut: int) -> None:
        said = text.encode()[: len(text.encode()) - cut]
        chat = Chat(tiny)
        with monkeypatch.context() as patch:
            says(patch, [id_of[bytes([byte])] for byte in said])
            pieces = list(chat.send("Say it."))
        whole = said.decode("utf-8", "ignore")
        if whole.encode() != said:  # the last piece says that something is missing
            assert pieces.pop() == "\ufffd"
            assert chat.turns[-1].content == whole + "\ufffd"
        else:
            assert chat.turns == [Message("user", "Say it."), Message("assistant", whole)]
        assert pieces == list(whole)

    law()


def test_a_temperature_draws_and_the_seed_repeats_it(tiny: Bundle) -> None:
    likeliest = {send(Chat(tiny, sampling=Sampling(seed=seed)), "Where?") for seed in range(3)}
    assert len(likeliest) == 1
    drawn = [send(Chat(tiny, sampling=Sampling(5.0, seed=seed)), "Where?") for seed in range(4)]
    assert len(set(drawn)) > 1
    assert drawn == [send(Chat(tiny, sampling=Sampling(5.0, seed=seed)), "Where?") for seed in range(4)]


def test_a_penalty_keeps_a_reply_from_repeating_itself(tiny: Bundle) -> None:
    """A random model goes round in circles; each reply begins anew."""
    plain, penalised = Chat(tiny), Chat(tiny, sampling=Sampling(repetition_penalty=10.0))
    said = [send(chat, "Where?", 24) for chat in (plain, penalised)][1]
    ids = [chat._cached_ids[-23:] for chat in (plain, penalised)]
    assert len(set(ids[0])) < len(set(ids[1])) == 23
    penalised.reset()
    assert send(penalised, "Where?", 24) == said


def test_law_a_stop_string_ends_a_reply_across_any_tokens(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_of = {tiny.tokenizer.token_bytes(i): i for i in range(tiny.tokenizer.vocab_size)}
    text = "Vier é# ##. Ende"
    for ids in ([id_of[bytes([byte])] for byte in text.encode()], tiny.tokenizer.encode(text)):
        says(monkeypatch, ids)
        chat = Chat(tiny, stops=["##.", "nie"])
        pieces = list(chat.send("Say it."))
        assert "".join(pieces) == "Vier é# "
        assert chat.turns[-1] == Message("assistant", "Vier é# ")


def test_a_reply_that_was_stopped_leaves_nothing_stale_behind(tiny: Bundle) -> None:
    whole = send(Chat(tiny), "Where?", 12)
    stop = whole[3:5]
    chat = Chat(tiny, stops=[stop])
    assert send(chat, "Where?", 12) == whole[: whole.index(stop)]
    fresh = Chat(tiny, stops=[stop])
    fresh.turns = list(chat.turns)
    assert send(chat, "Why?", 12) == send(fresh, "Why?", 12)


def prompt_of(chat: Chat, text: str) -> str:
    pieces = chat.bundle.template.render(chat._messages(Message("user", text)))
    return "".join(piece.text for piece in pieces)


def test_xgens_own_words_are_its_prompt_and_its_opening_is_no_reply(
    xgen_like: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Chat(xgen_like)
    assert prompt_of(chat, "One?") == f"{HEADER}\n\n### Human: One?\n###"
    says(monkeypatch, xgen_like.tokenizer.encode(" Assistant: Two.\n"))
    pieces = list(chat.send("One?"))
    assert "Assistant" not in "".join(pieces)
    assert chat.turns[-1] == Message("assistant", "Two.\n")
    assert prompt_of(chat, "Three?").endswith("One?\n### Assistant: Two.\n\n### Human: Three?\n###")
    told = Chat(xgen_like, system="Be brief.")
    assert prompt_of(told, "One?") == "Be brief.\n\n### Human: One?\n###"


def test_what_xgen_said_is_not_read_again(xgen_like: Bundle, prefilled: list[int]) -> None:
    """Its opening is taken off what is shown, and stands in the next prompt with the ids that it had."""
    tokenizer, chat = xgen_like.tokenizer, Chat(xgen_like)
    with pytest.MonkeyPatch.context() as patch:
        says_and_reads(patch, tokenizer.encode(" Assistant: Two."))
        send(chat, "One?", 40)
    send(chat, "Three?")
    new = len(tokenizer.encode("\n")) + len(tokenizer.encode(" Human: Three?\n")) + 2
    assert prefilled[-1] <= new + 1


def says_and_reads(patch: pytest.MonkeyPatch, ids: list[int]) -> None:
    """A model that says these ids, whatever it finds likeliest, and reads them as it goes."""
    coming = iter(ids)
    original = chat_module.generate

    def generate(model: Any, cache: Any, logits: Any, choose: Any, *rest: Any) -> Iterator[int]:
        end = next(iter(rest[0]))
        yield from original(model, cache, logits, lambda logits_V: next(coming, end), *rest)

    patch.setattr(chat_module, "generate", generate)
