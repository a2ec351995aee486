import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from xgen.read.fold import fold


@given(st.text(st.characters(categories=["L", "M"]), max_size=30))
def test_against_unicodedata_folding_in_clusters_is_nfkc(text: str) -> None:
    text = re.sub("[\u02b9-\u02bf\ufe00-\ufe0f]", "", text)  # quotation marks, variation selectors
    whole = unicodedata.normalize("NFKC", text)
    whole = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in whole)
    assert fold(text).text == re.sub(r"\s+", " ", whole)


@given(st.text(max_size=100))
def test_law_every_folded_character_knows_its_place(text: str) -> None:
    folded = fold(text)
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    assert all(0 <= a < b <= len(text) for a, b in zip(folded.starts, folded.ends, strict=True))
    assert folded.starts == sorted(folded.starts)
    assert folded.ends == sorted(folded.ends)
