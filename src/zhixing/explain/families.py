"""The families of topics in words, and the topics grouped by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zhixing.explain.topic import Topic
from zhixing.language import tr

_NAMES = {
    "tokenization": ("From text to tokens", "从文本到词元"),
    "ngram": ("Counting: n-grams", "计数：n 元模型"),
    "hmm": ("Hidden Markov models", "隐马尔可夫模型"),
    "words": ("Word vectors", "词向量"),
    "networks": ("Neurons and networks", "神经元与网络"),
    "losses": ("Losses", "损失函数"),
    "optimizers": ("Optimizers", "优化器"),
    "schedules": ("Learning-rate schedules", "学习率调度"),
    "regularisation": ("Regularisation", "正则化"),
    "convolution": ("Models of a window", "窗口模型"),
    "recurrent": ("Recurrent networks", "循环网络"),
    "sequence_to_sequence": ("Sequence to sequence", "序列到序列"),
    "attention": ("Attention", "注意力"),
    "positions": ("Positions", "位置编码"),
    "normalisation": ("Normalisation", "归一化"),
    "transformer": ("The Transformer", "Transformer"),
    "decoding": ("Decoding", "解码"),
    "measures": ("Measures", "评价指标"),
    "mixture": ("Mixing models", "模型混合"),
    "warm_start": ("Warm starts", "热启动"),
    "compression": ("Compression", "模型压缩"),
    "trust": ("Trust", "可信"),
}


def family_name(family: str) -> str:
    """Return the family in the reader's language; one that has no words yet keeps its own name."""
    return tr(*_NAMES[family]) if family in _NAMES else family.replace("_", " ")


def by_family(found: Iterable[Topic[Any]]) -> dict[str, list[Topic[Any]]]:
    """Group topics by family, both in the order given."""
    groups: dict[str, list[Topic[Any]]] = {}
    for topic in found:
        groups.setdefault(topic.family, []).append(topic)
    return groups
