import math

import numpy as np
import pytest
import torch

from xgen.model.attention import attend_reference
from xgen.model.packed import attend_packed
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer
from xgen.train.held_out import documents_within, score_positions, score_sets
from xgen.train.start import initialise

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(corpus) -> Transformer:
    made = Transformer(Shape(1, 32, 48, 2, 1, 16, corpus.vocab_size, 256, tied_head=True), attend_packed)
    initialise(made, 1)
    with torch.no_grad():
        made.embedding.weight.mul_(20)  # far from even odds, so that a wrong token shows
    return made


def test_against_documents_one_by_one(corpus, model) -> None:
    """In rows that hold each document whole its loss is that of [eot] + ids under plain attention."""
    score = score_sets(model, corpus, 256, 10_000, 3, CPU)["prose.en"]
    held = corpus.sets["prose.en.held"]
    plain = Transformer(model.shape, attend_reference)
    plain.load_state_dict(model.state_dict())
    nats, n_tokens = 0.0, 0
    for index in range(documents_within(held, 10_000)):
        sequence = torch.tensor([corpus.eot_id, *held.document(index).tolist(), corpus.eot_id])
        with torch.no_grad():
            logits = plain.logits(plain(sequence[None, :-1]))[0]
        nats += float(torch.nn.functional.cross_entropy(logits, sequence[1:], reduction="sum"))
        n_tokens += len(sequence) - 1
    assert score.tokens == n_tokens
    assert score.nats_per_token == pytest.approx(nats / n_tokens, rel=1e-5)
    assert score.bits_per_byte == pytest.approx(nats / math.log(2) / held.n_bytes, rel=1e-5)


def test_positions_come_from_full_rows_only(corpus, model) -> None:
    bins = score_positions(model, corpus, 64, 10_000, 4, CPU)
    assert [(one.first, one.last) for one in bins] == [(0, 16), (16, 64)]
    rows = {one.tokens / (one.last - one.first) for one in bins}
    assert len(rows) == 1, "every bin holds the same rows"
    held = corpus.sets["prose.en.held"]
    assert rows == {sum((n + 1) // 64 for n in held.lengths if n >= 64)}
    assert score_positions(model, corpus, 4096, 10_000, 4, CPU) == []


def test_at_least_one_document_is_read(corpus) -> None:
    held = corpus.sets["prose.en.held"]
    assert documents_within(held, 1) == 1
    assert documents_within(held, held.n_tokens) == held.n_documents
    assert held.starts[documents_within(held, 500)] <= 500 or np.diff(held.starts)[0] > 500
