import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licence_tables import LAYOUTS, LicenceTable, measures, names_in, tables

from xgen.text.rows import Entry, row_reply

TABLES = tables()


def rows_of(table: LicenceTable) -> list[dict[str, str]]:
    """The table read back out of its text, by layout."""
    layout = table.id.split("-")[1]
    body = table.text.split("\n\n", 1)[1]
    if layout in ("records", "cells"):
        blocks = body.rstrip("\n").split("\n\n")[:-1]
        if layout == "records":
            return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        head, *rest = [block.split("\n") for block in blocks]
    else:
        lines = body.split("\n\n")[0].split("\n")
        parted = {"pipes": r"\s*\|\s*", "aligned": r"\s{2,}", "tabs": r"\t"}[layout]
        head, *rest = [re.split(parted, line.strip("| ")) for line in lines if "---" not in line]
    return [dict(zip(head, cells, strict=True)) for cells in rest]


def test_twenty_tables_four_a_layout_half_of_them_with_the_answer_in_a_column() -> None:
    assert len(TABLES) == 20
    for layout in LAYOUTS:
        texts = [t.text for t in TABLES if t.id.endswith(layout)]
        assert len(texts) == 4
        assert sum("Commercial use" in text for text in texts) == 2
    assert tables() == TABLES


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.id)
def test_the_answer_follows_from_the_text_alone(table: LicenceTable) -> None:
    """Worked out again from the words of the text: by the column or by the note's rule."""
    rows = rows_of(table)
    assert [row["Model"] for row in rows] == list(table.names)
    if "Commercial use" in rows[0]:
        free = {row["Model"] for row in rows if row["Commercial use"] == "yes"}
    else:
        assert '"NC", "non-commercial" or "research"' in table.text
        free = {row["Model"] for row in rows if not re.search("NC|research", row["Licence of the weights"])}
    assert free == table.free
    assert 0 < len(free) < len(rows)


@given(st.data())
def test_law_the_names_put_into_an_answer_are_found_in_it(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(TABLES))
    some = data.draw(st.sets(st.sampled_from(table.names)))
    joint = data.draw(st.sampled_from([", ", "\n", " and ", "; "]))
    answer = "They are: " + joint.join(f"{name.upper()}" for name in sorted(some)) + "."
    assert names_in(answer, table.names) == some
    assert measures(table, answer)["set_exact"] == float(some == table.free)


def test_a_name_inside_a_longer_one_does_not_count() -> None:
    names = ("Alder-7B", "Alder-7B-8k-inst", "Alder-7B-inst")
    assert names_in("Alder-7B-8k-inst", names) == {"Alder-7B-8k-inst"}
    assert names_in("Old-Alder-7B and Alder-7Bx", names) == set()
    assert names_in("**Alder-7B**, (Alder-7B-inst)", names) == {"Alder-7B", "Alder-7B-inst"}


def test_naming_all_and_naming_none_are_not_right() -> None:
    for table in TABLES:
        share = len(table.free) / len(table.names)
        assert measures(table, " ".join(table.names)) == {
            "set_exact": 0.0,
            "set_f1": pytest.approx(2 * share / (1 + share)),
        }
        assert measures(table, None) == {"set_exact": 0.0, "set_f1": 0.0}


def test_of_a_reply_row_by_row_the_last_line_counts() -> None:
    table = tables(1)[0]
    rows = row_reply([Entry(name, "x", name in table.free) for name in table.names])
    assert names_in(str(rows), table.names) == table.free
    assert measures(table, str(rows))["set_exact"] == 1
