"""A batch on the terminal: what colours say, signs say too."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from zhixing.pretraining.preview import Preview
from zhixing.pretraining.shown import ShownPart
from zhixing.pretraining.terminal import asks_next, draw, picture, seen_in_words
from zhixing.pretraining.visibility import around, before, within
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer(extra_tokens=("<|mask|>",))
MASK, SEPARATOR = TOKENIZER.special_tokens["<|mask|>"], TOKENIZER.separator_id


def causal(text="The cat sat.", padding=0, documents=None):
    ids = np.array([*text.encode("utf-8"), *[SEPARATOR] * padding])
    size, real = len(ids), len(ids) - padding
    documents = np.zeros(size, np.int64) if documents is None else documents
    first = np.maximum.accumulate(np.where(np.diff(documents, prepend=-1) > 0, np.arange(size), 0))
    weights = (np.arange(size) < real).astype(np.float32)
    targets = np.where(weights > 0, np.append(ids[1:], ord("!")), -1)
    return ShownPart("inputs", ids, targets, weights, np.arange(size) - first, documents, before(documents))


def masked():
    part = causal("the cat")
    ids, targets, weights = part.ids.copy(), np.full(7, -1), np.zeros(7, np.float32)
    targets[[1, 4]], weights[[1, 4]] = part.ids[[1, 4]], 1
    ids[4] = MASK
    return replace(part, ids=ids, targets=targets, weights=weights, visible=around(None, 7))


def drawn(*parts, width=80, colour=False, size=None, **options):
    rows = tuple((part,) for part in parts)
    shown = Preview("tiny", "gpt2", "causal", 2, 8, size or len(rows), options.pop("reach", None), rows, TOKENIZER)
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None).print(
        draw(shown, **options)
    )
    return out.getvalue()


def test_a_causal_row_is_read_in_its_order():
    text = drawn(causal("The cat sat.", padding=6))
    assert "T h e ␣ c a t ␣ s a" in text and "t . ‹⏹›×6" in text
    assert "18 places, 12 asked for" in text and "asked for the next token; ‹x›" in text
    assert "each place sees itself and all before it" in text
    assert "batch 2: positions 8 to 8" in text
    assert "‹" not in drawn(causal()) and "t .→!" in drawn(causal())  # the last target is not in the window


def test_a_masked_row_shows_what_is_asked():
    text = drawn(masked())
    assert "t [h→h] e ␣ [<|mask|>→c] a t" in text and "2 asked for" in text
    assert "each place sees everything, before and after it" in text


def test_documents_begin_lines_of_their_own():
    documents = np.array([0] * 4 + [1] * 8)
    lines = [line.split() for line in drawn(causal(documents=documents)).splitlines()]
    assert ["0", "0", "T", "h", "e", "␣"] in lines and ["1", "0", *"cat␣sat.→!"[:7], ".→!"] in lines
    assert "all of its document before it" in drawn(causal(documents=documents))
    mixed = causal("ab" + chr(0) + "cd")
    mixed.ids[2] = SEPARATOR
    assert "documents not kept apart (data.isolate_documents)" in drawn(mixed)
    assert "1 document" in drawn(causal("abc", padding=3))  # padding is no document


def test_weights_that_are_not_one_are_written_and_shaded():
    part = causal("abcd")
    part.weights[:] = (1, 0.5, 0.25, 1)
    assert "a b×0.5 c×0.25 d→!" in drawn(part)
    styled = drawn(part, colour=True)
    assert all(f"\x1b[30;{code}m{word}" in styled for code, word in ((42, "a"), (43, "b×0.5"), (103, "c×0.25")))


def test_a_place_that_cannot_see_itself_says_so():
    part = causal("abcde")
    visible = np.ones((5, 5), dtype=bool)
    visible[2, 2] = False
    targets, weights = np.array([-1, -1, part.ids[2], -1, -1]), np.array([0, 0, 1, 0, 0], np.float32)
    text = drawn(replace(part, targets=targets, weights=weights, visible=visible))
    assert "a b [?→c] d e" in text and "cannot see itself" in text and "differs from place to place" in text


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("part", [causal("知行合一，to know and to act. " * 9), masked()], ids=["causal", "masked"])
def test_it_fits_eighty_columns(part, language, monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", language)
    for text in (drawn(part, part, size=5), drawn(part, attention=True)):
        assert max(cell_len(line) for line in text.splitlines()) <= 80


def test_chinese(monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    text = drawn(causal(padding=5), masked(), size=4)
    assert "每个位置要预测下一个词元；‹x›：其后的词元不计入损失" in text and "谁看到谁" in text
    assert "另有 2 行：--rows 4" in text and "[x→y]：显示 x，要预测 y；其余均已给出" in text


def test_only_the_chosen_places():
    text = drawn(causal("abcdefghijklmnopqrstuvwxyz"), places=slice(4, 8))
    assert "e f g h" in text and "d e" not in text and "h i" not in text
    pictured = [line for line in text.splitlines() if "█" in line or "▄" in line]
    assert [line.split()[-1] for line in pictured] == ["█▄··", "███▄"]


def test_a_picture_has_two_rows_in_a_line():
    seen = np.tril(np.ones((5, 5), dtype=bool))
    lines = picture(seen, first_row=10, first_column=10).plain.splitlines()
    assert lines[0].split() == ["10"] and [line.split()[-1] for line in lines[1:]] == ["█▄···", "███▄·", "▀▀▀▀▀"]
    assert lines[1].split()[0] == "10"


def test_attention_draws_everything_in_bands():
    part = causal("x" * 130)
    text = drawn(part, attention=True)
    assert text.count("who sees whom") == 3 and text.count("█▄") > 60
    assert drawn(part).count("who sees whom") == 1


def test_the_words_for_who_sees_whom():
    documents = np.array([0, 0, 0, 1, 1, 1])
    part = causal("abcdef")
    assert seen_in_words(part) == "each place sees itself and all before it"
    narrow = replace(part, visible=part.visible & within(6, 3))
    assert seen_in_words(narrow, 3) == "each place sees itself and the 2 places before it"
    assert "differs" in seen_in_words(narrow)
    padded = replace(part, visible=around(None, 6, 4))
    assert seen_in_words(padded) == "each place sees everything but padding"
    padded = replace(part, documents=documents, visible=around(documents, 6, 5))
    assert seen_in_words(padded) == "each place sees everything of its document but padding"
    whole = replace(part, sees_source=np.ones((6, 3), dtype=bool))
    assert seen_in_words(whole).endswith(", and all of the source")
    some = replace(part, sees_source=np.tile([True, True, False], (6, 1)))
    assert seen_in_words(some).endswith(", and 2 of the 3 places of the source")
    assert "what of the source is seen" in drawn(some)


def test_a_sentence_is_asked_for_as_a_whole():
    part = replace(causal("abc"), targets=np.full(3, -1), weights=np.zeros(3, np.float32), visible=around(None, 3))
    shown = Preview("tiny", "bert", "contrastive", 0, 0, 1, None, ((part,),), TOKENIZER)
    out = io.StringIO()
    Console(file=out, width=80).print(draw(shown))
    assert "read twice under dropout" in out.getvalue() and "a b c" in out.getvalue()


def test_asks_next():
    assert asks_next(causal()) and not asks_next(masked())
