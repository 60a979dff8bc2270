"""Train a tokenizer on text: settings, a bounded sample, the merges.

Byte-level BPE is learned by the ``tokenizers`` library. While learning, runs of scripts without blanks are
cut into short stretches: GPT-2's pattern takes a whole clause of Chinese as one word, and a trainer that
stores millions of different clauses needs hundreds of times the text's size in memory. Encoding later uses
the plain, well-known pattern; the merges are the same objects.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from zhixing.config import Settings, setting
from zhixing.errors import ConfigError, DataError
from zhixing.language import tr
from zhixing.tokenizers.bpe import from_merges
from zhixing.tokenizers.byte_alphabet import BYTE_CHARACTERS, characters_to_bytes
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer
from zhixing.tokenizers.layout import PATTERNS, pre_tokenizer
from zhixing.tokenizers.pieces import PieceTokenizer, checked_text
from zhixing.tokenizers.sample import Sample, stretches, take_sample
from zhixing.tokenizers.specials import SPECIAL_TOKENS

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer

_log = logging.getLogger(__name__)

SMALLEST = 256 + len(SPECIAL_TOKENS)
"""Ids: the bytes and the special tokens."""

_TRAINER_RATE = 1.0e6
"""Bytes of text per second, one core, to tell how long training may take."""


class TokenizerSettings(Settings):
    """How a tokenizer is trained."""

    kind: Literal["bpe", "byte", "character"] = setting(
        "bpe",
        "byte-level BPE, single bytes, or characters with bytes to fall back on",
        "字节级 BPE、单字节，或字符（可回退到字节）",
    )
    vocab_size: int = setting(
        4096,
        "ids, the 256 bytes and the special tokens included (kind 'byte' always has 261)",
        "编号总数，含 256 个字节与特殊词元（'byte' 恒为 261）",
        unit="tokens",
        ge=1,
        le=1_000_000,
    )
    pattern: Literal["gpt2", "llama3"] = setting(
        "gpt2",
        "how text is cut before merging, as the family of that name does it",
        "合并前如何切分文本，与同名模型家族一致",
    )
    min_frequency: int = setting(
        2, "a pair or character seen less often gets no id", "出现次数更少的组合或字符不编号", ge=1
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
        ConfigError: ``vocab_size`` cannot hold the bytes and the special tokens.
        DataError: there is no text, or it holds half a surrogate pair.
    """
    if settings.kind == "byte":
        return ByteTokenizer(extra_tokens=extra_tokens)
    smallest = SMALLEST + len(extra_tokens)
    if settings.vocab_size < smallest:
        raise ConfigError(
            tr(
                f"vocab_size = {settings.vocab_size}: at least {smallest} are needed "
                f"(256 bytes and {smallest - 256} special tokens)",
                f"vocab_size = {settings.vocab_size}：至少需要 {smallest}（256 个字节与 {smallest - 256} 个特殊词元）",
            )
        )
    sample = take_sample((checked_text(text) for text in texts), settings.sample_bytes, settings.memory_bytes)
    if not sample.texts:
        raise DataError(tr("there is no text to train a tokenizer on", "没有可用于训练分词器的文本"))
    _tell(settings, sample)
    train = _train_bpe if settings.kind == "bpe" else _train_characters
    tokenizer = train(settings, sample, extra_tokens)
    if tokenizer.vocab_size < settings.vocab_size:
        _log.warning(
            tr(
                f"the text is too small for {settings.vocab_size} tokens: the vocabulary has {tokenizer.vocab_size}",
                f"文本太少，不足以得到 {settings.vocab_size} 个词元：词表只有 {tokenizer.vocab_size} 个",
            )
        )
    return tokenizer


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


def _library_pre_tokenizer(pattern: str) -> PreTokenizer:
    from tokenizers import Regex, pre_tokenizers

    if pattern == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    split = pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
