import pytest

from xgen.text.languages import language_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The model was trained on long documents and answers questions about them.", "en"),
        ("Das Modell wurde auf langen Dokumenten trainiert und beantwortet Fragen dazu.", "de"),
        ("Модель обучена на длинных документах и отвечает на вопросы о них.", "ru"),
        ("该模型在长文档上进行了训练，并回答有关这些文档的问题。", "zh"),
        ("このモデルは長い文書で訓練され、それらに関する質問に答えます。", "ja"),
        ("", None),
        ("Yes.", None),
        ("1234 5678 | 90 + 12 = 3 " * 40, None),
    ],
)
def test_language(text: str, code: str | None) -> None:
    assert language_of(text) == code
