import random

from hypothesis import given
from hypothesis import strategies as st

from xgen.data.tally import N_SAMPLES, Tally

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["came", "kept", "rejected", "removed", "moved"]),
        st.sampled_from(["", "too_short", "near_duplicate"]),
        st.sampled_from([("a", "prose", "de"), ("b", "code", "py")]),
        st.integers(0, 99),
        st.text("xyz", max_size=3),
    ),
    max_size=40,
)


def tally(events: list) -> Tally:
    found = Tally()
    for verdict, reason, place, n_bytes, name in events:
        found.add(verdict, reason, place, n_bytes, sample=(name, name * 300))
    return found


@given(EVENTS, st.randoms(use_true_random=False), st.integers(0, 40))
def test_law_the_order_of_counting_does_not_matter(events: list, chance: random.Random, cut: int) -> None:
    whole = tally(events)
    shuffled = chance.sample(events, len(events))
    parts = tally(shuffled[cut:])
    parts.merge(tally(shuffled[:cut]))
    assert parts.counts == whole.counts
    assert parts.samples == whole.samples
    assert Tally.from_json(whole.to_json()) == whole


@given(EVENTS)
def test_law_totals_are_sums(events: list) -> None:
    found = tally(events)
    for verdict in ("came", "kept", "rejected", "removed", "moved"):
        sizes = [n_bytes for which, _, _, n_bytes, _ in events if which == verdict]
        assert found.total(verdict) == (len(sizes), sum(sizes))  # type: ignore[arg-type]
    assert all(len(samples) <= N_SAMPLES for samples in found.samples.values())


def test_what_is_lost_without_a_reason_is_a_fault() -> None:
    found = Tally()
    place = ("a", "prose", "de")
    found.add("came", "", place, 100)
    found.add("removed", "in_english", place, 30, documents=2)
    found.add("kept", "", place, 70)
    assert found.fault() is None
    found.add("came", "", place, 5)
    assert found.fault() == "a: 1 documents and 5 bytes"
    found.add("rejected", "too_short", place, 5)
    assert found.fault() is None
