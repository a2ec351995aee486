"""A handmade model writes its replies; what of them becomes a conversation is checked here."""

from types import SimpleNamespace
from typing import Any

import torch
from replies import conversations

END = 9


class Batch(dict[str, Any]):
    input_ids = torch.zeros(2, 3, dtype=torch.long)

    def to(self, device: str) -> "Batch":
        return self


class Letters:
    """A tokenizer whose id n is the n-th letter."""

    pad_token_id = END

    def apply_chat_template(self, asked: list[Any], **rest: Any) -> list[str]:
        return [" ".join(turn["content"] for turn in turns) for turns in asked]

    def __call__(self, prompts: list[str], **rest: Any) -> Batch:
        self.prompts = prompts
        return Batch()

    def decode(self, ids: list[int], **rest: Any) -> str:
        return "".join(chr(ord("a") + i) for i in ids)


def test_replies_that_the_model_ended_become_conversations() -> None:
    said = torch.tensor([[0, 0, 0, 7, 8, END, 1], [0, 0, 0, 1, 2, 3, 4]])
    model = SimpleNamespace(device="cpu", generate=lambda **given: said)
    asks = [
        {"id": "long", "lang": "en", "system": "S", "user": "a longer request"},
        {"id": "short", "lang": "de", "system": "S", "user": "hm"},
    ]
    letters = Letters()
    (found,) = conversations(asks, model, letters, [END])
    assert letters.prompts == ["S hm", "S a longer request"]
    assert found == {
        "id": "short",
        "lang": "de",
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "hm"},
            {"role": "assistant", "content": "hi"},
        ],
    }


def test_a_reply_of_nothing_is_left_out() -> None:
    model = SimpleNamespace(device="cpu", generate=lambda **given: torch.tensor([[0, 0, 0, END]]))
    assert not list(
        conversations([{"id": "a", "lang": "en", "system": "S", "user": "u"}], model, Letters(), [END])
    )
