"""No model output may drive the terminal."""

import unicodedata

from zhixing.generation.terminal import printable


def test_escape_sequences_become_visible():
    assert printable("\x1b]52;c;aGk=\x07") == "\\x1b]52;c;aGk=\\x07"
    assert printable("\x9b2J") == "\\x9b2J"
    assert printable("safe\u202etxt") == "safe\\u202etxt"


def test_ordinary_text_is_unchanged():
    text = "tab\t新行\n表情 👩‍👩‍👧 naïve العربية"
    assert printable(text) == text


def test_no_control_character_survives():
    everything = "".join(map(chr, range(0x3000)))
    left = {c for c in printable(everything) if unicodedata.category(c) == "Cc"}
    assert left == {"\t", "\n"}
