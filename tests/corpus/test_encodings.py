import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhixing.corpus.encodings import TextDecoder, recognise, repair

CHINESE = "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？\n" * 20


def decode(data: bytes, size: int = 7) -> TextDecoder:
    decoder = TextDecoder()
    # The first chunk must hold the byte order mark, as it does when a file is read by the megabyte.
    text = decoder.decode(data[:1024])
    for start in range(1024, len(data), size):
        text += decoder.decode(data[start : start + size])
    decoder.text = text + decoder.decode(b"", final=True)  # type: ignore[attr-defined]
    return decoder


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("gb18030", "gb18030"),
        ("gbk", "gb18030"),
    ],
)
def test_encoding_is_recognised_and_text_is_exact(encoding: str, name: str) -> None:
    decoder = decode(CHINESE.encode(encoding))
    assert (decoder.encoding, decoder.text, decoder.invalid) == (name, CHINESE, 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("bom", [codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE])
def test_utf16_without_mark(bom: bytes) -> None:
    order = "be" if bom == codecs.BOM_UTF16_BE else "le"
    assert decode(("plain words\n" * 30).encode(f"utf-16-{order}")).text == "plain words\n" * 30  # type: ignore[attr-defined]


def test_chinese_after_a_long_ascii_preface_is_still_recognised() -> None:
    data = b"x" * 5000 + CHINESE.encode("gbk")
    decoder = TextDecoder()
    text = decoder.decode(data[:4000]) + decoder.decode(data[4000:]) + decoder.decode(b"", final=True)
    assert decoder.encoding == "gb18030"
    assert text == "x" * 5000 + CHINESE


def test_latin1_is_not_taken_for_chinese() -> None:
    french = "Élève très zélé, déjà vu à Noël; garçon naïf où l'été a été çà et là. " * 5
    assert recognise(french.encode("latin-1")) == "utf-8"


def test_invalid_bytes_in_utf8_chinese_are_counted_and_repaired() -> None:
    line = CHINESE[:36].encode()
    data = line + b"\xff" + line + b"\xc3\x28" + line
    decoder = decode(data)
    assert decoder.invalid == 2
    assert decoder.text.count("\ufffd") == 2  # type: ignore[attr-defined]


def test_a_real_replacement_character_is_not_counted_as_invalid() -> None:
    decoder = decode("一\ufffd二".encode())
    assert (decoder.invalid, decoder.text) == (0, "一\ufffd二")  # type: ignore[attr-defined]


def test_surrogates_nul_and_mixed_newlines() -> None:
    decoder = decode(b"a\r\nb\rc\nd\0e\xed\xa0\x80f")
    assert decoder.text.startswith("a\nb\nc\nde\ufffd")  # type: ignore[attr-defined]
    assert (decoder.nul, "\0" in decoder.text) == (1, False)  # type: ignore[attr-defined]
    decoder.text.encode()  # type: ignore[attr-defined]


def test_a_carriage_return_at_a_chunk_border_is_one_newline() -> None:
    decoder = TextDecoder()
    assert decoder.decode(b"a\r") + decoder.decode(b"\nb") + decoder.decode(b"", final=True) == "a\nb"


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=200),
    st.integers(1, 9),
)
def test_utf8_in_any_chunks_is_exact(text: str, size: int) -> None:
    data = codecs.BOM_UTF8 + text.encode()
    decoder = TextDecoder("utf-8-sig")
    got = "".join(decoder.decode(data[i : i + size]) for i in range(0, len(data), size))
    assert got + decoder.decode(b"", final=True) == text
    assert decoder.invalid == 0


@given(st.binary(max_size=300))
def test_any_bytes_become_encodable_text(data: bytes) -> None:
    decoder = TextDecoder()
    (decoder.decode(data) + decoder.decode(b"", final=True)).encode()


def test_repair_leaves_good_text_alone() -> None:
    assert repair("好 🙂") == ("好 🙂", 0)
    assert repair("a\ud800b") == ("a\ufffdb", 1)
