"""Topics of learning from text: masked and permutation language modelling; pairs and judgements have own files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import contrastive, preferences
from zhixing.explain.topics.inputs import Matrix, Vector, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import losses as theory
from zhixing.theory.networks import softmax

Array = NDArray[np.float64]


class MaskedInputs(Settings):
    """A short text, which of its places were masked, and what the model says there."""

    vocabulary: tuple[str, ...] = setting(("the", "cat", "dog", "sat"), "all words", "全部词", min_length=2)
    text: tuple[str, ...] = setting(("the", "cat", "sat"), "the text, before masking", "掩蔽前的文本", min_length=1)
    masked: tuple[int, ...] = setting((1,), "places masked, from 0", "被掩蔽的位置，从 0 起", min_length=1)
    scores: Matrix = setting(
        ((3.0, 0.0, 0.0, 0.0), (0.0, 2.0, 1.0, -1.0), (0.0, 0.0, 0.0, 2.0)),
        "for every place, a score for every word",
        "每个位置上各词的得分",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_shape("scores", self.scores, len(self.text), len(self.vocabulary))
        words, length = ", ".join(self.vocabulary), len(self.text)
        known = all(word in self.vocabulary for word in self.text)
        require(known, f"text may hold only: {words}", f"text 只能含：{words}")
        inside = all(0 <= place < length for place in self.masked)
        require(inside, f"masked places go from 0 to {length - 1}", f"masked 须在 0 到 {length - 1} 之间")
        return self


def masked_language_modelling() -> Topic[MaskedInputs]:
    """BERT's objective."""
    return Topic(
        name="masked-language-modelling",
        family="losses",
        title=tr("Masked language modelling", "掩码语言模型"),
        idea=(
            tr(
                "To understand a text one wants to see both sides of a word; a causal model sees only the left.",
                "理解文本需要看到词的两侧，而因果语言模型只看左侧。",
            ),
            tr(
                "Hide about one token in seven and let the model guess them from all the others.",
                "遮住约七分之一的词元，让模型依据其余全部词元来猜。",
            ),
            tr(
                "The loss is cross-entropy at the hidden places alone: fewer lessons, but each sees both sides.",
                "损失仅是被遮位置上的交叉熵：每段文本的训练信号较少，但都看得到两侧。",
            ),
        ),
        formula=(
            r"L = -\frac{1}{M} \sum_{t=1}^{T} m_t \log p(w_t \mid \tilde{w})",
            r"\frac{\partial L}{\partial x_t} = \frac{m_t}{M} (\operatorname{softmax}(x_t) - e_{w_t})",
        ),
        symbols={
            "w_t": tr("true token at place t, of T", "位置 t 的真实词元，共 T 个"),
            r"\tilde{w}": tr("the corrupted text that the model reads", "模型读到的、经掩蔽的文本"),
            "m_t": tr("1 at masked places, else 0", "被掩蔽处为 1，否则为 0"),
            "e_{w_t}": tr("one-hot vector of the true token, (V,)", "真实词元的独热向量，(V,)"),
            "M": tr("number of masked places in the batch", "整批中被掩蔽的位置数"),
            "x_t": tr("scores at place t, (V,)", "位置 t 的得分，(V,)"),
        },
        inputs=MaskedInputs,
        example=_masked_example,
        picture=_masked_picture,
        pitfalls=(
            tr(
                "Of the chosen places 80 % become [MASK], 10 % another token, 10 % stay; all count in the loss.",
                "所选位置中 80% 换成 [MASK]，10% 换成其他词元，10% 不变；三者都计入损失。",
            ),
            tr(
                "Divide by the masked places of the whole batch, not row by row: short rows would weigh too much.",
                "应除以整批的掩蔽位置数，而非逐行平均：否则短行权重过大。",
            ),
            tr(
                "Its loss is no perplexity of a text: the guesses do not multiply to the probability of the whole.",
                "该损失不是文本的困惑度：各处猜测之积并非整段文本的概率。",
            ),
        ),
        papers=("Devlin et al. 2019, BERT: pre-training of deep bidirectional transformers, section 3.1",),
        theory=(theory.masked_lm_loss, theory.masked_lm_loss_gradient),
        practice=("zhixing.nn.losses:masked_lm_sum",),
        related=("causal-language-modelling", "permutation-language-modelling", "cross-entropy"),
    )


def _masked_arrays(inputs: MaskedInputs) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_]]:
    ids = np.array([[inputs.vocabulary.index(word) for word in inputs.text]])
    masked = np.isin(np.arange(len(inputs.text)), inputs.masked)[None]
    return np.array(inputs.scores)[None], ids, masked


def _masked_example(inputs: MaskedInputs) -> Iterator[Step]:
    logits, ids, masked = _masked_arrays(inputs)
    hidden = ["[MASK]" if m else word for word, m in zip(inputs.text, masked[0], strict=True)]
    yield Step(tr("what the model reads", "模型读到的文本"), " ".join(hidden), r"\tilde{w}")
    places = [f"{place}: {inputs.text[place]}" for place in np.flatnonzero(masked[0])]
    p = softmax(logits)[masked]
    yield Step(
        tr("its probabilities at the masked places", "它在被掩蔽处给出的概率"),
        p,
        rows=places,
        columns=inputs.vocabulary,
    )
    right = p[np.arange(len(p)), ids[masked]]
    yield Step(tr("those of the true words", "真实词的概率"), right, r"p(w_t \mid \tilde{w})", columns=places)
    yield Step(tr("minus their logarithms", "取负对数"), -np.log(right), columns=places)
    yield Step(
        tr("the mean: the loss, in nats", "取均值得损失，单位奈特"), theory.masked_lm_loss(logits, ids, masked), "L"
    )
    gradient = theory.masked_lm_loss_gradient(logits, ids, masked)[0]
    says = tr("its gradient: zero wherever nothing was hidden", "梯度：未遮之处为零")
    yield Step(says, gradient, rows=inputs.text, columns=inputs.vocabulary)


def _masked_picture(inputs: MaskedInputs) -> HeatMap:
    logits, _, masked = _masked_arrays(inputs)
    rows = [f"[{word}]" if m else word for word, m in zip(inputs.text, masked[0], strict=True)]
    title = tr("probabilities at every place; masked ones in brackets", "各位置的概率；被掩蔽者加方括号")
    return HeatMap(title, softmax(logits[0]), rows, inputs.vocabulary)


class PermutationInputs(Settings):
    """A short text, an order in which to predict it, and the probabilities the model gives the true words."""

    text: tuple[str, ...] = setting(("I", "like", "green", "tea"), "the text", "文本", min_length=2)
    order: tuple[int, ...] = setting(
        (2, 0, 3, 1), "places in the order of prediction, from 0", "预测各位置的次序，从 0 起"
    )
    probabilities: Vector = setting((0.5, 0.25, 0.1, 0.8), "of the true word, place by place", "各位置真实词的概率")
    predicted: int = setting(2, "how many of the last in the order are predicted", "预测次序中最后的几个", ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        length = len(self.text)
        require_length("probabilities", self.probabilities, length)
        permuted = sorted(self.order) == list(range(length))
        require(permuted, f"order must hold 0 to {length - 1}, each once", f"order 须恰含 0 到 {length - 1} 各一次")
        require(all(0 < p < 1 for p in self.probabilities), "probabilities lie between 0 and 1", "概率须在 0 与 1 之间")
        require(self.predicted <= length, f"predicted is at most {length}", f"predicted 至多为 {length}")
        return self


def permutation_language_modelling() -> Topic[PermutationInputs]:
    """XLNet's objective."""
    return Topic(
        name="permutation-language-modelling",
        family="losses",
        title=tr("Permutation language modelling", "排列语言模型"),
        idea=(
            tr(
                "Masking sees both sides but guesses hidden words independently; left to right sees only one side.",
                "掩码能看两侧，却把被遮的词当作相互独立；自左向右则只看一侧。",
            ),
            tr(
                "Predict the words one after another in a random order of places; the places themselves do not move.",
                "按随机的位置次序逐一预测各词；词的位置本身并不移动。",
            ),
            tr(
                "Every order is an exact chain rule of the text, and over many orders each word sees all others.",
                "每种次序都是一条严格的链式分解；遍历众多次序，每个词都能看到其余所有词。",
            ),
        ),
        formula=(
            r"L = -\frac{1}{P} \sum_{t=T-P+1}^{T} \log p(w_{z_t} \mid w_{z_1}, \ldots, w_{z_{t-1}})",
            r"\text{place } i \text{ sees place } j \iff r_j < r_i",
        ),
        symbols={
            "z": tr("the order: z_t is the place predicted at step t", "次序：z_t 为第 t 步预测的位置"),
            "r_i": tr("rank: when place i is predicted", "位置 i 被预测的先后"),
            "P": tr("how many of the last are predicted", "预测最后几个"),
            "T": tr("length of the text, tokens", "文本长度，单位为词元"),
        },
        inputs=PermutationInputs,
        example=_permutation_example,
        picture=_permutation_picture,
        pitfalls=(
            tr(
                "The text is not shuffled: places keep their positions, only the attention mask follows the order.",
                "并非打乱文本：位置编码不变，只有注意力掩码随次序而变。",
            ),
            tr(
                "A place must not see itself while it is predicted, yet later ones must: hence two streams.",
                "被预测时不得看到自身，而其后的位置又须看到它：故需双流注意力。",
            ),
            tr(
                "The first in the order see nearly nothing; predicting only the last ones makes learning stable.",
                "次序靠前者几乎看不到什么；只预测靠后者，训练才稳定。",
            ),
        ),
        papers=("Yang et al. 2019, XLNet: generalized autoregressive pretraining, sections 2.2 and 2.3",),
        theory=(
            theory.permutation_lm_loss,
            theory.permutation_lm_loss_gradient,
            theory.factorisation_mask,
            theory.factorisation_rank,
        ),
        practice=("zhixing.nn.losses:permutation_lm_sum", "zhixing.nn.losses:factorisation_mask"),
        related=("two-stream-attention", "masked-language-modelling", "causal-language-modelling"),
    )


def _permutation_example(inputs: PermutationInputs) -> Iterator[Step]:
    order, p = np.array([inputs.order]), np.array(inputs.probabilities)
    yield Step(tr("the order of prediction", "预测次序"), " → ".join(inputs.text[place] for place in inputs.order), "z")
    yield Step(
        tr("the rank of every place", "各位置的先后"), theory.factorisation_rank(order)[0], "r_i", columns=inputs.text
    )
    mask = theory.factorisation_mask(order, content=False)[0].astype(np.int64)
    says = tr("who (row) sees whom (column)", "谁（行）能看见谁（列）")
    yield Step(says, mask, "r_j < r_i", rows=inputs.text, columns=inputs.text)
    chosen = inputs.order[len(inputs.order) - inputs.predicted :]
    words = [inputs.text[place] for place in chosen]
    yield Step(
        tr("minus log-probabilities of the last in the order", "次序末尾各词的负对数概率"),
        -np.log(p[list(chosen)]),
        columns=words,
    )
    # One word against all others: two classes, of which class 0 is the true word.
    logits, ids = np.log(np.stack([p, 1 - p], axis=-1))[None], np.zeros((1, len(p)), dtype=np.int64)
    loss = theory.permutation_lm_loss(logits, ids, order, inputs.predicted)
    yield Step(tr("their mean: the loss, in nats", "取均值得损失，单位奈特"), loss, "L")


def _permutation_picture(inputs: PermutationInputs) -> HeatMap:
    mask = theory.factorisation_mask(np.array([inputs.order]), content=False)[0].astype(np.float64)
    return HeatMap(tr("what each place sees", "各位置可见的范围"), mask, inputs.text, inputs.text, "i", "j")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (
    masked_language_modelling,
    permutation_language_modelling,
    *contrastive.TOPICS,
    *preferences.TOPICS,
)
