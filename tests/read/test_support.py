import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.read.fold import fold
from xgen.read.support import Match, find_quote, support
from xgen.text.sentences import sentence_spans

ARTICLE = Path(__file__).parents[2] / "docs" / "xgen-7b.md"

# Words of many scripts, with combining marks, ligatures, emoji of several code points, full and half width.
words = st.one_of(
    st.text(st.characters(categories=["L", "M", "Nd", "So"]), min_size=1, max_size=8),
    st.sampled_from(
        [
            "naïve",
            "nai\u0308ve",
            "ﬁnal",
            "ｆｕｌｌ",
            "ｶﾞﾗｽ",
            "문서의",
            "漢字仮名",
            "👩\u200d👧",
            "العقد",
            "हिन्दी",
            "ไทย",
            "x²",
        ]
    ),
)
breaks = st.sampled_from([" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", " \n "])


def joined(pieces: list[str], gaps: list[str]) -> tuple[str, list[int]]:
    """The pieces with the gaps between them, and where each piece begins."""
    text, starts = "", []
    for piece, gap in zip(pieces, gaps, strict=True):
        starts.append(len(text))
        text += piece + gap
    return text, starts


def bare(text: str) -> str:
    """Letters and digits only, composed: another, blunter way to compare than the one under test."""
    kept = [c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c)[0] in "LN"]
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in kept)


def printed(text: str) -> str:
    """What folding leaves alone: all but white space, controls, dashes and quotation marks."""
    aside = ("Z", "C", "Pd", "Pi", "Pf")
    composed = unicodedata.normalize("NFKC", re.sub("['\"`´ʼ″‴′‟„‚‛「」『』−\ufe00-\ufe0f]", "", text))
    return "".join(c for c in composed if not unicodedata.category(c).startswith(aside))


def common_share(one: str, other: str) -> float:
    """2 · (longest common subsequence) / (sum of lengths), written out."""
    row = [0] * (len(other) + 1)
    for a in one:
        diagonal = 0
        for j, b in enumerate(other, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return 2 * row[-1] / max(1, len(one) + len(other))


# ---- quotations -----------------------------------------------------------------------------------


@given(data=st.data())
def test_law_a_run_of_words_is_found_however_it_is_set(data: st.DataObject) -> None:
    pieces = data.draw(st.lists(words, min_size=8, max_size=20))
    pieces = [piece if bare(piece) else "word" for piece in pieces]
    text, starts = joined(pieces, data.draw(st.lists(breaks, min_size=len(pieces), max_size=len(pieces))))
    first = data.draw(st.integers(0, 2))
    chosen = pieces[first:]
    quote, _ = joined(chosen, data.draw(st.lists(breaks, min_size=len(chosen), max_size=len(chosen))))
    if len(fold(quote).text.strip(" \"'-")) < 12:
        return
    match = find_quote(text, quote)
    assert match is not None
    assert match.score == 100
    assert bare(text[match.start : match.end]) == bare(quote)
    assert match.start <= starts[first]  # the first place, where the same words stand twice


@given(data=st.data())
def test_law_nothing_is_quoted_that_is_not_there(data: st.DataObject) -> None:
    text = data.draw(st.text(max_size=200))
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    at = data.draw(st.integers(0, end - start))
    changed = data.draw(st.text(max_size=6))
    quote = text[start : start + at] + changed + text[start + at + len(changed) : end]
    match = find_quote(text, quote)
    if match is not None:
        assert common_share(printed(text[match.start : match.end]), printed(quote)) >= 0.8


@given(data=st.data(), typo=st.sampled_from("abcxyz"))
def test_law_one_wrong_letter_is_a_near_match_at_its_place(data: st.DataObject, typo: str) -> None:
    plain = st.text(st.characters(categories=["Ll"], max_codepoint=0x24F), min_size=3, max_size=9)
    pieces = data.draw(st.lists(plain, min_size=12, max_size=30, unique=True))
    text = " ".join(pieces)
    first = data.draw(st.integers(0, len(pieces) - 10))
    true = " ".join(pieces[first : first + 10])
    at = data.draw(st.integers(1, len(true) - 2))
    if unicodedata.normalize("NFKC", true) != true or " " in (true[at], true[at - 1], true[at + 1]):
        return
    match = find_quote(text, true[:at] + typo + true[at + 1 :])
    assert match is not None
    assert match.score >= 90
    found = text[match.start : match.end]
    assert common_share(found, true) > 0.9
    assert found in text


@pytest.mark.parametrize(
    ("text", "quote", "standing"),
    [
        ("It was an exam-\nple of the kind.", "an example of the kind", "an exam-\nple of the kind"),
        ("It was an exam\u00adple of the kind.", "an example of the kind", "an exam\u00adple of the kind"),
        ("They said “it’s over” – finally.", 'said "it\'s over" - finally', "said “it’s over” – finally"),
        ("the ﬁrst oﬃce was\r\nclosed in May", "first office was closed", "ﬁrst oﬃce was\r\nclosed"),
        ("Trained as XGen-\n7B by them.", "Trained as XGen-7B", "Trained as XGen-\n7B"),
        ("Le cafe\u0301 a été fermé hier.", "Le café a été fermé", "Le cafe\u0301 a été fermé"),
        ("Договор подписан «Газпромом» 3 мая.", 'подписан "Газпромом"', "подписан «Газпромом»"),
        ("Η σύμβαση υπεγράφη στην Αθήνα.", "υπεγράφη  στην Αθήνα", "υπεγράφη στην Αθήνα"),
        ("تم توقيع العقد في القاهرة.", "توقيع العقد في القاهرة", "توقيع العقد في القاهرة"),
        ("यह अनुबंध दिल्ली में हुआ था।", "अनुबंध दिल्ली में", "अनुबंध दिल्ली में"),
        ("本合同于２０２３年在北京签订。", "2023年在北京签订", "２０２３年在北京签订"),
        ("この契約はﾄｳｷｮｳで締結された。", "契約はトウキョウで締結", "契約はﾄｳｷｮｳで締結"),
        ("สัญญานี้ลงนามที่กรุงเทพมหานคร", "ลงนามที่กรุงเทพ", "ลงนามที่กรุงเทพ"),
        ("이 계약은 서울에서 체결되었다.", "계약은 서울에서", "계약은 서울에서"),
        ("החוזה נחתם בירושלים בשנה שעברה", "נחתם בירושלים בשנה", "נחתם בירושלים בשנה"),
        ("well-known methods work", "known methods work", "known methods work"),
    ],
)
def test_quotation_is_found_in_any_script(text: str, quote: str, standing: str) -> None:
    match = find_quote(text, quote)
    assert match is not None
    assert text[match.start : match.end] == standing
    assert match.score == 100


def test_near_match_gives_what_stands_there() -> None:
    text = "Preface. The committee decided to postpone the vote until the next session in autumn. End."
    match = find_quote(text, "The commitee decided to postpone the vote until the next session")
    assert match is not None
    assert (
        text[match.start : match.end] == "The committee decided to postpone the vote until the next session"
    )
    assert 90 <= match.score < 100


@pytest.mark.parametrize(
    "quote",
    [
        "the vote decided the committee in the session",  # the document's words, scattered
        "The committee decided ... next session in autumn",  # two pieces
        "THE COMMITTEE DECIDED TO POSTPONE THE VOTE",  # another case
        "next session",  # eleven letters and a space: found
        "the session",  # too short
        "a board was elected by all members of the union",
        "",
        "   ",
        "------------------",
    ],
)
def test_what_is_not_there_is_not_quoted(quote: str) -> None:
    text = "The committee decided to postpone the vote until the next session in autumn."
    match = find_quote(text, quote)
    if quote == "next session":
        assert match == Match(text.index(quote), text.index(quote) + len(quote), 100)
    else:
        assert match is None


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("A total of 512 million people were counted that year.", "12 million people were counted that year"),
        (
            "The fee of 1,500 dollars is due when the contract ends.",
            "fee of 1,600 dollars is due when the contract",
        ),
        ("合同金额为五百万元，签订于2023年", "签订于2024年，北京"),
    ],
)
def test_a_quotation_with_another_number_is_no_match(text: str, quote: str) -> None:
    assert find_quote(text, quote) is None


def test_a_quotation_never_begins_or_ends_inside_a_word() -> None:
    text = "Later she was a good and careful manager of the house."
    match = find_quote(text, "he was a good and careful manager of the house")
    assert match is not None
    assert text[match.start : match.end].startswith(("she", "was"))
    assert match.score < 100


# ---- support --------------------------------------------------------------------------------------


def test_support_finds_the_place_of_shortened_sentences() -> None:
    text = ARTICLE.read_text(encoding="utf-8")
    spans = [(a, b) for a, b in sentence_spans(text) if len(text[a:b].split()) >= 10 and "|" not in text[a:b]]
    found = 0
    for start, end in spans:
        kept = [word for i, word in enumerate(text[start:end].split()) if i % 4 != 3]
        match = support(text, " ".join(kept))
        found += match is not None and (match.start, match.end) == (start, end)
    assert len(spans) > 100
    assert found / len(spans) > 0.98


@pytest.mark.parametrize(
    "sentence",
    [
        "The potatoes have to boil for twenty minutes before the butter is added.",
        "A court in Madrid heard the appeal of two former ministers on Thursday.",
        "Ein Gericht in Madrid verhandelte am Donnerstag über die Berufung.",
        "... !",
        "",
    ],
)
def test_support_is_none_for_what_the_document_does_not_say(sentence: str) -> None:
    assert support(ARTICLE.read_text(encoding="utf-8"), sentence) is None
    assert support("", sentence) is None


@pytest.mark.parametrize(
    ("text", "sentence", "standing"),
    [
        (
            "The fee is due in May. The tenant, Ada Byron, signed the contract in Leeds.",
            "Ada Byron signed it in Leeds.",
            "The tenant, Ada Byron, signed the contract in Leeds.",
        ),
        (
            "Плата вносится в мае. Договор подписала в Казани Анна Белова.",
            "Анна Белова подписала договор в Казани.",
            "Договор подписала в Казани Анна Белова.",
        ),
        ("费用在五月支付。合同由王芳在北京签订。", "王芳在北京签订了合同。", "合同由王芳在北京签订。"),
        (
            "料金は五月に支払う。契約は東京で田中が結んだ。",
            "田中が東京で契約を結んだ。",
            "契約は東京で田中が結んだ。",
        ),
        (
            "تدفع الرسوم في مايو. وقعت ليلى العقد في القاهرة.",
            "ليلى وقعت العقد في القاهرة",
            "وقعت ليلى العقد في القاهرة.",
        ),
        (
            "요금은 오월에 낸다. 김민수가 서울에서 계약을 맺었다.",
            "김민수가 계약을 서울에서 맺었다.",
            "김민수가 서울에서 계약을 맺었다.",
        ),
        (
            "शुल्क मई में देय है। सीमा ने दिल्ली में अनुबंध किया।",
            "सीमा ने अनुबंध दिल्ली में किया।",
            "सीमा ने दिल्ली में अनुबंध किया।",
        ),
    ],
)
def test_support_in_seven_scripts(text: str, sentence: str, standing: str) -> None:
    match = support(text, sentence)
    assert match is not None
    assert text[match.start : match.end] == standing


assigned = st.characters(exclude_categories=["Cs", "Cn"])


@given(text=st.text(assigned, max_size=300), sentence=st.text(assigned, max_size=60))
def test_law_support_is_a_sentence_of_the_text(text: str, sentence: str) -> None:
    match = support(text, sentence)
    if match is not None:
        assert (match.start, match.end) in sentence_spans(text)
        assert set(printed(text[match.start : match.end].casefold())) & set(printed(sentence.casefold()))
