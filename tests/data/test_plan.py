import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xgen.data.ledger import read_by_stage, read_until
from xgen.data.plan import SHUFFLED_ROWS, StagePlan, StageSpec, plan_run
from xgen.data.shards import LINE_END, OPENS, SENTENCE_MARK, Corpus, TokenSet
from xgen.errors import BadCorpus

EOT = 63
KINDS = np.zeros(64, np.uint8)
KINDS[:4] = [LINE_END | OPENS, SENTENCE_MARK, OPENS, OPENS]
NAMES = ("prose.de", "prose.bg", "code.py", "chat.en")


def corpus_of(lengths: dict[str, list[int]], seed: int = 0) -> Corpus:
    """Sets of documents of these lengths, of random ids; chat.en is a tuning set."""
    random = np.random.default_rng(seed)
    sets = {}
    for name, sizes in sorted(lengths.items()):
        starts = np.cumsum([0, *sizes])
        ids = random.integers(0, 60, starts[-1]).astype(np.uint16)
        flags = parts = None
        if name.startswith("chat"):
            flags = random.integers(0, 2, starts[-1]).astype(np.uint8)
            halves = [(i, n) for i, size in enumerate(sizes) for n in (size // 2, size - size // 2) if n]
            parts = np.array(halves, np.int32)
        sets[name] = TokenSet(name, ids, starts, 0, Path("/"), flags, parts)
    corpus = Corpus(Path("/"), "made", 64, EOT, "", sets)
    vars(corpus)["breaks"] = KINDS
    return corpus


def stage(**more: Any) -> StageSpec:
    given = {
        "name": "s",
        "length": 16,
        "tokens": 320,
        "mix": {"*": 1.0},
        "max_epochs": 4.0,
        "long_share": 0.0,
    }
    return StageSpec(**{**given, "temperature": 0.5, **more})


def sizes_of(tokens: TokenSet) -> NDArray[np.int64]:
    return tokens.lengths + (tokens.trained is None)


def times_read(corpus: Corpus, plans: tuple[StagePlan, ...], name: str) -> list[NDArray[np.int64]]:
    """How often each position of each document of a set was read."""
    tokens = corpus.sets[name]
    counts = [np.zeros(size, np.int64) for size in sizes_of(tokens)]
    for plan in plans:
        for index, document, start, end in zip(
            plan.set_index.tolist(),
            plan.document.tolist(),
            plan.start.tolist(),
            plan.end.tolist(),
            strict=True,
        ):
            if plan.sets[index] == name:
                counts[document][start:end] += 1
    return counts


@st.composite
def runs(draw: st.DrawFn) -> tuple[Corpus, list[StageSpec], int, int]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    lengths = {}
    for name in names:
        top = 8 if name.startswith("chat") else 90
        lengths[name] = draw(st.lists(st.integers(1, top), min_size=1, max_size=12))
        lengths[f"{name}.held"] = [5, 9]
    stages = []
    for number in range(draw(st.integers(1, 3))):
        stages.append(
            stage(
                name=f"stage {number}",
                length=draw(st.sampled_from([8, 16, 32])),
                tokens=draw(st.integers(1, 600)),
                mix=draw(st.dictionaries(st.sampled_from(["*", *names]), st.floats(0.1, 5), min_size=1)),
                max_epochs=draw(st.floats(1, 30)),
                long_share=draw(st.sampled_from([0.0, 0.0, 0.3])),
            )
        )
    return corpus_of(lengths), stages, draw(st.integers(0, 2**32)), 32 * draw(st.integers(1, 3))


@given(run=runs())
@settings(max_examples=150, deadline=None)
def test_law_nothing_is_lost_and_nothing_read_again_before_all_of_its_set_was(
    run: tuple[Corpus, list[StageSpec], int, int],
) -> None:
    corpus, stages, seed, tokens_per_step = run
    try:
        plans = plan_run(corpus, stages, seed, tokens_per_step)
    except BadCorpus:
        return
    for number, (spec, plan) in enumerate(zip(stages, plans, strict=True)):
        assert plan.n_steps == -(-spec.tokens // tokens_per_step)
        assert plan.n_rows * plan.length == plan.n_steps * tokens_per_step
        assert not any(name.endswith(".held") for name in plan.sets)
        size = plan.end - plan.start
        held = np.add.reduceat(size, plan.offsets[:-1])
        assert (np.diff(plan.offsets) > 0).all()
        assert (size > 0).all()
        assert held.max() <= plan.length
        for name in plan.sets:
            counts = times_read(corpus, plans[: number + 1], name)
            assert all((np.diff(one) <= 0).all() for one in counts)  # of each document the beginning
            every = np.concatenate(counts)
            assert every.max() <= every.min() + 1
            assert every.sum() <= spec.max_epochs * len(every) + max(
                plan.length, *sizes_of(corpus.sets[name])
            )


@given(run=runs())
@settings(max_examples=60, deadline=None)
def test_law_rows_hold_what_the_plan_says_and_the_ledger_counts_it_at_every_step(
    run: tuple[Corpus, list[StageSpec], int, int],
) -> None:
    """The ledger against what came out of the rows themselves, after each step of the run."""
    corpus, stages, seed, tokens_per_step = run
    try:
        plans = plan_run(corpus, stages, seed, tokens_per_step)
    except BadCorpus:
        return
    trained = positions = steps = 0
    for number, plan in enumerate(plans):
        targets = []
        for step in range(plan.n_steps):
            for index in range(step * plan.rows_per_step, (step + 1) * plan.rows_per_step):
                row = plan.row(corpus, index)
                assert len(row.ids) == plan.length
                targets.append(row.targets[row.targets >= 0])
                assert plan.trained_tokens(index) == len(targets[-1])
                positions += int((row.segment >= 0).sum())
                trained += len(targets[-1])
            steps += 1
            entries = [entry for stage in read_until(corpus, plans, steps) for entry in stage]
            assert sum(entry.positions for entry in entries) == positions
            assert sum(entry.trained for entry in entries) == trained
        assert read_until(corpus, plans, steps)[number] == read_by_stage(corpus, plan)
        assert all(
            entry.positions == 0
            for stage in read_until(corpus, plans, steps)[number + 1 :]
            for entry in stage
        )
        _require_targets(corpus, plan, np.concatenate(targets))


def _require_targets(corpus: Corpus, plan: StagePlan, found: NDArray[np.int32]) -> None:
    """The targets of all rows are the tokens of the pieces, counted by id, straight from the sets."""
    wanted = []
    for index, document, start, end in zip(
        plan.set_index.tolist(), plan.document.tolist(), plan.start.tolist(), plan.end.tolist(), strict=True
    ):
        tokens = corpus.sets[plan.sets[index]]
        ids = tokens.document(document)
        if tokens.trained is None:
            wanted.append(np.array([*ids, EOT])[start:end])
        else:
            flags = tokens.trained[tokens.starts[document] : tokens.starts[document + 1]].copy()
            firsts = [0, len(ids) // 2]
            flags[firsts] = 0
            wanted.append(ids[flags == 1])
            assert (start, end) == (0, len(ids))
    assert (
        np.bincount(np.concatenate(wanted), minlength=64).tolist()
        == np.bincount(found, minlength=64).tolist()
    )


LIKE_TEXT = {
    "prose.de": (300, 1.3, 900),
    "prose.bg": (300, 1.3, 150),
    "book.de": (6_000, 0.6, 25),
    "message.de": (60, 0.5, 600),
}


@pytest.fixture(scope="module")
def texts() -> Corpus:
    """A million tokens or so in documents of lengths as they are; each 8th token or so ends a line."""
    random = np.random.default_rng(5)
    sizes = {
        name: np.clip(random.lognormal(np.log(median), sigma, n), 1, 60_000).astype(int).tolist()
        for name, (median, sigma, n) in LIKE_TEXT.items()
    }
    return corpus_of(sizes | {"prose.de.held": [50] * 50})


def test_rows_are_full_and_every_stretch_has_the_mix(texts: Corpus) -> None:
    mix = {"prose.*": 5.0, "book.*": 4.0, "message.de": 1.0}
    (plan,) = plan_run(texts, [stage(length=512, tokens=700_000, mix=mix, max_epochs=8.0)], 3, 8 * 512)
    entries = read_by_stage(texts, plan)
    total = sum(entry.positions for entry in entries)
    assert total / (plan.n_rows * plan.length) > 0.98
    share = {entry.set: entry.positions / total for entry in entries}
    root = {name: texts.sets[name].n_tokens ** 0.5 for name in ("prose.de", "prose.bg")}
    assert share["book.de"] == pytest.approx(0.4, abs=0.01)
    assert share["message.de"] == pytest.approx(0.1, abs=0.01)
    assert share["prose.de"] == pytest.approx(0.5 * root["prose.de"] / sum(root.values()), abs=0.01)
    n_stretches = 6
    for number in range(n_stretches):
        rows = range(number * plan.n_rows // n_stretches, (number + 1) * plan.n_rows // n_stretches)
        here = read_by_stage(texts, plan, rows)
        for entry in here:
            part = entry.positions / sum(one.positions for one in here)
            assert part == pytest.approx(share[entry.set], rel=0.35)


def test_no_step_reads_one_long_document_only() -> None:
    corpus = corpus_of({"book.de": [100_000, *[9_000] * 30], "prose.de": [90] * 3_000})
    (plan,) = plan_run(corpus, [stage(length=256, tokens=500_000, mix={"*": 1.0})], 0, 16 * 256)
    size = plan.end - plan.start
    for step in range(plan.n_steps):
        here = plan.pieces(range(step * 16, (step + 1) * 16))
        of_it = size[here][(plan.set_index[here] == plan.sets.index("book.de")) & (plan.document[here] == 0)]
        assert of_it.sum() < 0.8 * 16 * 256


def test_long_documents_come_first_where_a_stage_asks_for_them(texts: Corpus) -> None:
    mix = {"prose.*": 1.0, "book.*": 1.0}
    for share in (0.0, 0.6):
        spec = stage(length=2_048, tokens=150_000, mix=mix, long_share=share)
        (plan,) = plan_run(texts, [spec], 0, 2_048)
        entries = read_by_stage(texts, plan)
        long = sum(entry.long for entry in entries) / sum(entry.positions for entry in entries)
        assert long >= share
    mix = {"message.*": 1.0, "book.*": 1.0}
    with pytest.raises(BadCorpus, match=r"long_share 1 asks for .* lower long_share to 0\.\d") as raised:
        plan_run(texts, [stage(length=2_048, tokens=30_000, mix=mix, long_share=1.0)], 0, 2_048)
    reachable = float(raised.value.way_out.split()[3])
    plan_run(texts, [stage(length=2_048, tokens=30_000, mix=mix, long_share=reachable)], 0, 2_048)


def test_a_plan_follows_from_its_seed_and_whole_rows_from_their_number(texts: Corpus) -> None:
    """Who reads row i does not matter: 1, 2 and 4 processes read the same rows of each step."""
    specs = [stage(length=256, tokens=60_000), stage(name="t", length=512, tokens=60_000)]
    first, again, other = (plan_run(texts, specs, seed, 2_048) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        assert all(
            (vars(a)[field] == vars(b)[field]).all() for field in ("document", "start", "end", "offsets")
        )
        assert len(a.document) != len(c.document) or (a.document != c.document).any()
    plan = first[0]
    alone = [plan.row(texts, index).ids for index in range(plan.n_rows)]
    for n_processes in (2, 4):
        for step in range(plan.n_steps):
            for rank in range(n_processes):
                each = plan.rows_per_step // n_processes
                for index in range(
                    step * plan.rows_per_step + rank * each, step * plan.rows_per_step + (rank + 1) * each
                ):
                    assert (plan.row(texts, index).ids == alone[index]).all()


def test_a_stage_that_cannot_be_fed_is_refused_with_a_way_out(texts: Corpus) -> None:
    with pytest.raises(BadCorpus) as raised:
        plan_run(texts, [stage(name="all", length=512, tokens=10_000_000, mix={"message.de": 1.0})], 0, 512)
    assert "message.de is wanted for 10,000" in raised.value.what
    assert "short" in raised.value.what
    assert "raise max_epochs" in raised.value.way_out
    once = [
        stage(name=name, length=512, tokens=30_000, mix={"message.de": 1.0}, max_epochs=1.0) for name in "ab"
    ]
    plan_run(texts, once[:1], 0, 512)
    with pytest.raises(BadCorpus, match=r"stage b: message\.de"):
        plan_run(texts, once, 0, 512)


def test_a_record_longer_than_a_row_is_refused_by_name(tmp_path: Path) -> None:
    corpus = corpus_of({"chat.en": [4, 20, 30, 6]})
    lines = "".join(
        f'{{"id":"r{i}","source":"s","licence":"l","language":"en","bytes":1}}\n' for i in range(4)
    )
    (tmp_path / "chat.en.jsonl").write_text(lines)
    tokens = corpus.sets["chat.en"]
    corpus.sets["chat.en"] = TokenSet(
        tokens.name, tokens.ids, tokens.starts, 0, tmp_path, tokens.trained, tokens.parts
    )
    with pytest.raises(BadCorpus, match=r"record r1 \(and 1 more\) of chat\.en has 20 tokens, a row has 16"):
        plan_run(corpus, [stage(length=16, tokens=16)], 0, 16)
    with pytest.raises(ValueError, match="whole rows"):
        plan_run(corpus, [stage(length=16, tokens=16)], 0, 24)


def test_a_plan_of_many_rows_is_small(texts: Corpus) -> None:
    """What stays in memory is some 30 bytes a piece, whatever it takes to get there."""
    tracemalloc.start()
    (plan,) = plan_run(texts, [stage(length=128, tokens=1_000_000, max_epochs=9.0)], 0, 128)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 60 * len(plan.document) + 8 * plan.n_rows + 1_000_000
    assert plan.n_rows > SHUFFLED_ROWS
