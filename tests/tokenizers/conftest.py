"""Tokenizers trained once on real text: the library's own source, and some Chinese."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from zhixing.tokenizers.bpe import BpeTokenizer
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer
from zhixing.tokenizers.pieces import PieceTokenizer
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer
from zhixing.tokenizers.unigram import UnigramTokenizer
from zhixing.tokenizers.wordpiece import WordPieceTokenizer

CHINESE = (
    "知行合一，学而时习之，不亦说乎？有朋自远方来，不亦乐乎？语言模型根据前面的词预测下一个词。"
    "Python 是一种解释型语言，模型的参数由 gradient descent 学到。今天天气很好，我们去公园散步。"
)


def library_texts(bytes_limit: int) -> list[str]:
    texts: list[str] = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        texts.append(path.read_text(encoding="utf-8"))
        if sum(map(len, texts)) > bytes_limit:
            break
    return texts


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [*library_texts(600_000), *([CHINESE] * 20)]


@pytest.fixture(scope="session")
def bpe(texts: list[str]) -> BpeTokenizer:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=1024), texts)
    assert isinstance(tokenizer, BpeTokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def llama3_bpe(texts: list[str]) -> BpeTokenizer:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=1024, pattern="llama3"), texts)
    assert isinstance(tokenizer, BpeTokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def characters(texts: list[str]) -> CharacterTokenizer:
    return CharacterTokenizer.train(texts, 400)


@pytest.fixture(scope="session")
def unigram(texts: list[str]) -> UnigramTokenizer:
    tokenizer = train_tokenizer(TokenizerSettings(kind="unigram", vocab_size=1024), texts)
    assert isinstance(tokenizer, UnigramTokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def wordpiece(texts: list[str]) -> WordPieceTokenizer:
    tokenizer = train_tokenizer(TokenizerSettings(kind="wordpiece", vocab_size=1024), texts)
    assert isinstance(tokenizer, WordPieceTokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def llama3_wordpiece(texts: list[str]) -> WordPieceTokenizer:
    tokenizer = train_tokenizer(TokenizerSettings(kind="wordpiece", vocab_size=900, pattern="llama3"), texts)
    assert isinstance(tokenizer, WordPieceTokenizer)
    return tokenizer


@pytest.fixture(params=["bpe", "llama3", "byte", "character", "unigram", "wordpiece", "llama3_wordpiece"])
def tokenizer(
    request: pytest.FixtureRequest,
    bpe: BpeTokenizer,
    llama3_bpe: BpeTokenizer,
    characters: CharacterTokenizer,
    unigram: UnigramTokenizer,
    wordpiece: WordPieceTokenizer,
    llama3_wordpiece: WordPieceTokenizer,
) -> PieceTokenizer:
    return {
        "bpe": bpe,
        "llama3": llama3_bpe,
        "byte": ByteTokenizer(),
        "character": characters,
        "unigram": unigram,
        "wordpiece": wordpiece,
        "llama3_wordpiece": llama3_wordpiece,
    }[request.param]
