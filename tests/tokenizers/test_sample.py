"""What a trainer is given of a text."""

from zhixing.tokenizers.sample import stretches


def test_a_run_without_a_blank_is_cut_for_the_trainer() -> None:
    """One word of 100,000 letters would cost the trainer the square of that."""
    text = "short words stay " + "x" * 3000 + " 中文" + "é" * 2100 + "\n" + "y" * 1024 + " end"
    found = list(stretches([text], 16))
    assert "".join(found) == text
    assert max(len(word) for piece in found for word in piece.split()) == 1024
    assert found[0].startswith("short words stay x") and len(found) == 5
    assert [len(piece) for piece in stretches(["a" * 2500 + " b"], 16)] == [1024 + 0, 1024, 454]


def test_other_text_stays_whole() -> None:
    text = "words of any kind, 数字 and 中文 " * 3000
    assert list(stretches([text], 16)) == [text]
