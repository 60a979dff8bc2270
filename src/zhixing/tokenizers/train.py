"""Train a tokenizer on text: settings, a bounded sample, the pieces.

Byte-level BPE is learned by the ``tokenizers`` library, unigram and WordPiece by our own code. While learning, runs
of scripts without blanks are cut into short stretches: GPT-2's pattern takes a whole clause of Chinese as one word,
and a trainer that stores millions of different clauses needs hundreds of times the text's size in memory. Encoding
later uses the plain, well-known pattern; the merges are the same objects.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from zhixing.config import Settings, setting
from zhixing.errors import ConfigError, DataError
from zhixing.language import tr
from zhixing.tokenizers import unigram, wordpiece
from zhixing.tokenizers.bpe import from_merges
from zhixing.tokenizers.byte_alphabet import BYTE_CHARACTERS, characters_to_bytes
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer
from zhixing.tokenizers.layout import PATTERNS, WORDPIECE_PATTERNS, pre_tokenizer, wordpiece_pre_tokenizer
from zhixing.tokenizers.pieces import PieceTokenizer, checked_text
from zhixing.tokenizers.sample import Sample, stretches, take_sample
from zhixing.tokenizers.specials import SPECIAL_TOKENS
from zhixing.tokenizers.unigram_training import learn_unigram
from zhixing.tokenizers.wordpiece_training import ALPHABET, learn_wordpieces
from zhixing.tokenizers.words import count_words

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer

_log = logging.getLogger(__name__)

SMALLEST = 256 + len(SPECIAL_TOKENS)
"""Ids: the bytes and the special tokens."""

_TRAINER_RATE = 1.0e6
"""Bytes of text per second, one core, to tell how long training may take."""


class TokenizerSettings(Settings):
    """How a tokenizer is trained."""

    kind: Literal["bpe", "unigram", "wordpiece", "byte", "character"] = setting(
        "bpe",
        "byte-level BPE, unigram or WordPiece, single bytes, or characters with bytes to fall back on",
        "字节级的 BPE、unigram 或 WordPiece，单字节，或字符（可回退到字节）",
    )
    vocab_size: int = setting(
        4096,
        "ids, the 256 bytes (wordpiece: 512) and the special tokens included (kind 'byte' always has 261)",
        "编号总数，含 256 个字节（wordpiece 为 512 个）与特殊词元（'byte' 恒为 261）",
        unit="tokens",
        ge=1,
        le=1_000_000,
    )
    pattern: Literal["gpt2", "llama3"] = setting(
        "gpt2",
        "how text is cut into words before anything is learned, as the family of that name does it",
        "学习之前如何把文本切成词，与同名模型家族一致",
    )
    min_frequency: int = setting(
        2, "a pair, piece or character seen less often gets no id", "出现次数更少的组合、片段或字符不编号", ge=1
    )
    wordpiece_score: Literal["gain", "ratio"] = setting(
        "gain",
        "wordpiece: join the pair that raises the likelihood most in all, or the most per occurrence",
        "wordpiece：合并使似然总增益最大的一对，或每次出现增益最大的一对",
    )
    sample_bytes: int = setting(
        100_000_000,
        "at most so much text is learned from, taken from all over the corpus",
        "最多从整个语料中抽取这么多文本",
        unit="bytes",
        ge=1,
    )
    memory_bytes: int = setting(
        2_000_000_000,
        "the sample is made smaller where training would take more memory",
        "训练内存将超过此值时缩小样本",
        unit="bytes",
        ge=1,
    )
    max_token_bytes: int = setting(64, "longest token", "最长词元", unit="bytes", ge=2, le=1024)
    longest_run: int = setting(
        16,
        "scripts without blanks (Chinese, Japanese, Thai, …) are cut into stretches this long while learning",
        "学习时，不用空格的文字（中文、日文、泰文等）按此长度切段",
        unit="characters",
        ge=2,
        le=256,
    )


def train_tokenizer(
    settings: TokenizerSettings, texts: Iterable[str], extra_tokens: Sequence[str] = ()
) -> PieceTokenizer:
    """Return the tokenizer that ``settings`` ask for; equal text in equal order gives equal ids.

    Args:
        settings: kind, size, limits of the sample.
        texts: what is learned from, read once.
        extra_tokens: special tokens beyond the usual ones, which what is to be learned needs: ``<|mask|>``.

    Raises:
        ConfigError: ``vocab_size`` cannot hold the bytes (of WordPiece: twice) and the special tokens.
        DataError: there is no text, or it holds half a surrogate pair.
    """
    if settings.kind == "byte":
        return ByteTokenizer(extra_tokens=extra_tokens)
    alphabet, special = _alphabet(settings.kind), len(SPECIAL_TOKENS) + len(extra_tokens)
    if settings.vocab_size < alphabet + special:
        raise ConfigError(
            tr(
                f"vocab_size = {settings.vocab_size}: at least {alphabet + special} are needed "
                f"({alphabet} bytes and {special} special tokens)",
                f"vocab_size = {settings.vocab_size}：至少需要 {alphabet + special}"
                f"（{alphabet} 个字节与 {special} 个特殊词元）",
            )
        )
    sample = take_sample((checked_text(text) for text in texts), settings.sample_bytes, settings.memory_bytes)
    if not sample.texts:
        raise DataError(tr("there is no text to train a tokenizer on", "没有可用于训练分词器的文本"))
    _tell(settings, sample)
    tokenizer = _TRAINERS[settings.kind](settings, sample, extra_tokens)
    if tokenizer.vocab_size < settings.vocab_size:
        _log.warning(
            tr(
                f"the text is too small for {settings.vocab_size} tokens: the vocabulary has {tokenizer.vocab_size}",
                f"文本太少，不足以得到 {settings.vocab_size} 个词元：词表只有 {tokenizer.vocab_size} 个",
            )
        )
    return tokenizer


def _alphabet(kind: str) -> int:
    """Return how many ids are bytes: WordPiece has those that begin a word and those that continue one."""
    return ALPHABET if kind == "wordpiece" else 256


def _tell(settings: TokenizerSettings, sample: Sample) -> None:
    used, whole = sample.utf8_bytes / 1e6, sample.corpus_bytes / 1e6
    if not sample.is_whole:
        _log.info(
            tr(
                f"tokenizer: a sample of {used:.1f} MB of {whole:.1f} MB (limits: sample_bytes, memory_bytes)",
                f"分词器：从 {whole:.1f} MB 中抽样 {used:.1f} MB（上限：sample_bytes、memory_bytes）",
            )
        )
    if settings.kind == "bpe":
        seconds = sample.utf8_bytes / _TRAINER_RATE
        _log.info(
            tr(
                f"learning up to {settings.vocab_size - SMALLEST} merges from {used:.1f} MB: "
                f"about {seconds:.0f} s, up to {sample.memory_bytes / 1e6:.0f} MB of memory",
                f"从 {used:.1f} MB 中学习至多 {settings.vocab_size - SMALLEST} 条合并："
                f"约 {seconds:.0f} 秒，内存至多 {sample.memory_bytes / 1e6:.0f} MB",
            )
        )


def _train_characters(settings: TokenizerSettings, sample: Sample, extra_tokens: Sequence[str]) -> PieceTokenizer:
    return CharacterTokenizer.train(sample.texts, settings.vocab_size, settings.min_frequency, extra_tokens)


def _train_bpe(settings: TokenizerSettings, sample: Sample, extra_tokens: Sequence[str]) -> PieceTokenizer:
    import tokenizers

    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = _library_pre_tokenizer(settings.pattern)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=settings.vocab_size - len(SPECIAL_TOKENS) - len(extra_tokens),
        min_frequency=settings.min_frequency,
        initial_alphabet=list(BYTE_CHARACTERS),
        max_token_length=settings.max_token_bytes,
        show_progress=False,
    )
    learner.train_from_iterator(stretches(sample.texts, settings.longest_run), trainer)
    learned = json.loads(learner.to_str())["model"]["merges"]
    merges = [(characters_to_bytes(left), characters_to_bytes(right)) for left, right in learned]
    return from_merges(merges, pre_tokenizer(settings.pattern), extra_tokens)


def _train_unigram(settings: TokenizerSettings, sample: Sample, extra_tokens: Sequence[str]) -> PieceTokenizer:
    words = count_words(stretches(sample.texts, settings.longest_run), PATTERNS[settings.pattern])
    number = settings.vocab_size - SMALLEST - len(extra_tokens)
    pieces = learn_unigram(words, number, settings.max_token_bytes, settings.min_frequency)
    return unigram.from_pieces(pieces, pre_tokenizer(settings.pattern), extra_tokens)


def _train_wordpiece(settings: TokenizerSettings, sample: Sample, extra_tokens: Sequence[str]) -> PieceTokenizer:
    words = count_words(stretches(sample.texts, settings.longest_run), WORDPIECE_PATTERNS[settings.pattern])
    number = settings.vocab_size - ALPHABET - len(SPECIAL_TOKENS) - len(extra_tokens)
    learned = learn_wordpieces(
        words, number, settings.max_token_bytes, settings.min_frequency, settings.wordpiece_score
    )
    return wordpiece.from_pieces(learned, wordpiece_pre_tokenizer(settings.pattern), extra_tokens)


_TRAINERS: dict[str, Callable[[TokenizerSettings, Sample, Sequence[str]], PieceTokenizer]] = {
    "bpe": _train_bpe,
    "unigram": _train_unigram,
    "wordpiece": _train_wordpiece,
    "character": _train_characters,
}


def _library_pre_tokenizer(pattern: str) -> PreTokenizer:
    from tokenizers import Regex, pre_tokenizers

    if pattern == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    split = pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
