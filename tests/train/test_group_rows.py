"""The law of groups: a row of them trains what its questions, asked one by one, would."""

import dataclasses
import json

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from xgen.cli.wording import reading_words
from xgen.data.chats import TuningRecord
from xgen.data.document import Document
from xgen.data.groups import GroupOptions, group_records
from xgen.data.pack import Piece, Row, lay
from xgen.data.shards import open_corpus, write_corpus
from xgen.formats.folder import CHATML
from xgen.model.attention import attend_reference
from xgen.model.packed import attend_packed
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer
from xgen.text.bpe import learn_bpe
from xgen.text.chat import ChatTemplate
from xgen.text.tokenizer import Tokenizer
from xgen.train.rows import batch_of

SHAPE = Shape(2, 32, 48, 4, 2, 8, 512, 4096, tied_head=True)
FISH = ["perch", "pike", "carp", "eel"]


def documents() -> list[Document]:
    found = []
    for pond in range(4):
        text = " ".join(f"Gate {i} of pond {pond} holds {7 * pond + i} {FISH[i % 4]}." for i in range(6))
        questions = [
            {
                "id": str(i),
                "question": f"What does gate {i} of pond {pond} hold?",
                "type": "extractive",
                "answers": [{"text": said, "start": text.index(said)}],
            }
            for i in range(5)
            for said in [f"{7 * pond + i} {FISH[i % 4]}"]
        ]
        line = json.dumps({"title": str(pond), "text": text, "questions": questions})
        found.append(Document(line, "ponds", f"ponds/{pond}", "CC0-1.0", "en"))
    return found


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[TuningRecord], Row]:
    """Two groups, one document alone and several together, and the row that they make."""
    texts = [document.text for document in documents()] + [reading_words().system] * 9
    data = learn_bpe(iter(texts * 4), SHAPE.vocab_size)
    folder = tmp_path_factory.mktemp("corpus") / "ponds"
    found: list[TuningRecord] = []
    for packed_share, some in ((0.0, documents()[:1]), (1.0, documents()[1:])):
        options = GroupOptions(4000, (600, 2000), packed_share, absent_share=0.2, seed=3)
        tokenizer, template = Tokenizer(data), ChatTemplate(CHATML)
        made = list(group_records(some, tokenizer, template, reading_words(), options))
        assert all(isinstance(record, TuningRecord) for record in made)
        found += made[:1]  # type: ignore[arg-type]
    with write_corpus(folder, "ponds", data, {}) as writer:
        for record in found:
            writer.add("group.en", record.document, record.ids, record.trained, record.parts)
    corpus = open_corpus(folder)
    tokens = corpus.sets["group.en"]
    pieces = [Piece(tokens, i, 0, len(record.ids)) for i, record in enumerate(found)]
    row = lay(pieces, sum(len(record.ids) for record in found) + 17, corpus.eot_id)
    assert len(found) == 2
    assert min(len(record.parts) for record in found) > 5
    return found, row


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    model = Transformer(SHAPE, attend_packed)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.normal_(std=1.5 * p.shape[-1] ** -0.5)
    return model


def plain_loss(plain: Transformer, ids: list[int], n_trained: int) -> Tensor:
    """Summed loss of a prompt's last tokens, by the plain causal rule."""
    logits = plain.logits(plain(torch.tensor([ids[:-1]])))[0, -n_trained:]
    return cross_entropy(logits, torch.tensor(ids[-n_trained:]), reduction="sum")


def test_law_a_row_of_groups_is_its_questions_asked_one_by_one(
    records: tuple[list[TuningRecord], Row], model: Transformer
) -> None:
    """Loss and gradients, to the rounding of fp32."""
    plain = Transformer(SHAPE, attend_reference)
    plain.load_state_dict(model.state_dict())
    total, n_total = torch.zeros(()), 0
    for record in records[0]:
        head, place = record.ids[: record.parts[0]], record.parts[0]
        for n in record.parts[1:]:
            n_trained = sum(record.trained[place : place + n])
            total = total + plain_loss(plain, head + record.ids[place : place + n], n_trained)
            place += n
            n_total += n_trained
    total.backward()  # type: ignore[no-untyped-call]
    batch = batch_of([records[1]], torch.device("cpu"))
    together = model.loss(batch.ids, batch.targets, batch.positions, batch.packed)
    together.backward()
    assert n_total == (records[1].targets >= 0).sum() > 60
    torch.testing.assert_close(together, total, rtol=1e-5, atol=0)
    for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert p.grad is not None, name
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-4 * float(p.grad.abs().max()))


def test_law_a_question_moves_nothing_of_another(
    records: tuple[list[TuningRecord], Row], model: Transformer
) -> None:
    row = records[1]
    changed = dataclasses.replace(row, ids=row.ids.copy())
    asked = row.segment == 2  # a question of the first group
    assert (row.context[asked] == 0).all()
    changed.ids[asked] = (changed.ids[asked] + 5) % SHAPE.vocab_size
    with torch.no_grad():
        one, other = (
            model(batch.ids, batch.positions, mask=batch.packed)[0]
            for batch in (batch_of([each], torch.device("cpu")) for each in (row, changed))
        )
    moved = (one != other).any(-1)
    assert torch.equal(moved, torch.from_numpy(asked))


def test_positions_go_on_from_the_documents_end(records: tuple[list[TuningRecord], Row]) -> None:
    record, row = records[0][0], records[1]
    place = record.parts[0]
    for n in record.parts[1:]:
        assert row.position[place] == record.parts[0]
        assert row.position[place + n - 1] == record.parts[0] + n - 1
        place += n
    assert row.position[place] == 0
