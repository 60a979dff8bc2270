"""The rules for cutting text, against sacrebleu's and rouge-score's, and on Chinese."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhixing.errors import ConfigError
from zhixing.evaluation.splitting import splitter

TEXT = st.text(st.sampled_from("ab Z09.,-!&;'\"/()<>[]{}~@:\\ \tltgampquo#$%\n"), max_size=60)
CHINESE = st.text(st.sampled_from("猫坐在。，！？“”—…《》（）１ａ ab9.,-鿟々〇"), max_size=40)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_13a_is_sacrebleus(text):
    oracle = pytest.importorskip("sacrebleu.tokenizers.tokenizer_13a").Tokenizer13a()
    assert splitter("13a")(text) == oracle(text.rstrip()).split()


@settings(max_examples=300, deadline=None)
@given(CHINESE)
def test_zh_is_sacrebleus(text):
    oracle = pytest.importorskip("sacrebleu.tokenizers.tokenizer_zh").TokenizerZh()
    text = text.replace("鿟", "")  # newer than its table
    assert splitter("zh")(text) == oracle(text).split()


def test_characters_newer_than_sacrebleus_table_stand_alone_too():
    assert splitter("zh")("𠀀鿟a") == ["𠀀", "鿟", "a"]


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_letters_is_rouge_scores_on_ascii(text):
    oracle = pytest.importorskip("rouge_score.tokenize")
    assert splitter("letters")(text) == oracle.tokenize(text, None)


def test_letters_of_every_script():
    assert splitter("letters")("Größe, naïve café: 猫坐 3ステ कि!") == [
        *("größe", "naïve", "café", "猫", "坐", "3", "ス", "テ", "कि"),
    ]


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(ConfigError, match="'characters'"):
        splitter("character")
