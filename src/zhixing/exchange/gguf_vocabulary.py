"""A byte-level BPE tokenizer as GGUF holds it: tokens, kinds, merges, and the name of the rule that cuts text first.

llama.cpp knows such rules by name only, so a tokenizer can go there if its rule is one of these; another would be
tokenized differently without a word, and is refused. What llama.cpp does not have either is a normaliser: a tokenizer
with one is exported with a notice, because text that is already normalised comes out the same.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from zhixing.errors import InputError
from zhixing.language import tr
from zhixing.models.save import companion_files
from zhixing.tokenizers.bpe import BpeTokenizer
from zhixing.tokenizers.layout import GPT2_PATTERN, LLAMA3_PATTERN
from zhixing.tokenizers.protocol import Tokenizer

_log = logging.getLogger(__name__)

QWEN2_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
"""As Llama 3's, but each digit alone."""
RULES = {GPT2_PATTERN: "gpt-2", LLAMA3_PATTERN: "llama-bpe", QWEN2_PATTERN: "qwen2"}
"""Pattern → its name in llama.cpp (``src/llama-vocab.cpp``)."""
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens in GGUF."""


@dataclass(frozen=True)
class Vocabulary:
    """What GGUF stores of a tokenizer, in the order of ids.

    Attributes:
        tokens: spelled in GPT-2's byte alphabet.
        kinds: one of the kinds above for each.
        merges: "left right", earliest first.
        rule: the name of the cutting rule.
        opening: id that stands before every text.
        separator: id that ends a text.
    """

    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[str, ...]
    rule: str
    opening: int
    separator: int


def vocabulary(tokenizer: Tokenizer, size: int) -> Vocabulary:
    """Return the tokenizer as GGUF holds it, filled up with unused tokens to the model's ``size``.

    Raises:
        InputError: it is not byte-level BPE, or llama.cpp does not know how it cuts text.
    """
    document: dict[str, Any] = json.loads(_text(companion_files(tokenizer)["tokenizer.json"]))
    rule = _rule(tokenizer, document)
    tokens = {index: token for token, index in document["model"]["vocab"].items()}
    kinds = dict.fromkeys(tokens, NORMAL)
    for added in document["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    for index in range(len(tokens), size):
        tokens[index], kinds[index] = f"[PAD{index}]", UNUSED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in document["model"]["merges"]]
    return Vocabulary(
        tuple(tokens[index] for index in range(size)),
        tuple(kinds[index] for index in range(size)),
        tuple(merges),
        rule,
        int(getattr(tokenizer, "opening_id", tokenizer.separator_id)),
        tokenizer.separator_id,
    )


def _rule(tokenizer: Tokenizer, document: dict[str, Any]) -> str:
    pattern = tokenizer.pattern if isinstance(tokenizer, BpeTokenizer) else None
    if not isinstance(tokenizer, BpeTokenizer):
        raise InputError(
            tr(
                f"GGUF export needs a byte-level BPE tokenizer, this one is of kind '{tokenizer.kind}'; "
                "train the model with tokenizer.kind: bpe",
                f"导出 GGUF 需要字节级 BPE 分词器，而此分词器为 '{tokenizer.kind}' 类；"
                "请以 tokenizer.kind: bpe 训练模型",
            )
        )
    if pattern is None or pattern not in RULES:
        raise InputError(
            tr(
                f"llama.cpp does not know how this tokenizer cuts text before merging ({pattern or 'several rules'}), "
                f"so its ids would differ there; known: {', '.join(RULES.values())}",
                f"llama.cpp 不认识该分词器在合并之前切分文本的规则（{pattern or '多条规则'}），其编号会与此处不同；"
                f"可用：{', '.join(RULES.values())}",
            )
        )
    if document.get("normalizer"):
        _log.warning(
            tr(
                "llama.cpp does not normalise text as this tokenizer does: ids of text that is not normalised differ",
                "llama.cpp 不做该分词器的规范化：未规范化的文本在那里得到不同的编号",
            )
        )
    return RULES[pattern]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else bytes(content).decode("utf-8")
