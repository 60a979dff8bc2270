"""Topics of losses that need only text: language modelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import losses as theory
from zhixing.theory.networks import log_softmax, softmax


class CausalInputs(Settings):
    """A text, the scores at each place, and which tokens are to be learned."""

    text: tuple[str, ...] = setting(("the", "cat", "sat"), "tokens of the text", "文本的词元", min_length=2)
    vocabulary: tuple[str, ...] = setting(("the", "cat", "sat"), "all tokens", "词表", min_length=2)
    logits: Matrix = setting(
        ((0.0, 2.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 1.0)),
        "scores (T, V): row t predicts token t+1",
        "得分 (T, V)：第 t 行预测第 t+1 个词元",
    )
    counted: tuple[bool, ...] = setting((True, True, True), "False: not to be learned", "False 表示不学习")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_shape("logits", self.logits, len(self.text), len(self.vocabulary))
        require_length("counted", self.counted, len(self.text))
        strange = [word for word in self.text if word not in self.vocabulary]
        require(not strange, f"not in the vocabulary: {', '.join(strange)}", f"不在词表中：{'、'.join(strange)}")
        any_left = any(self.counted[1:])
        require(any_left, "count at least one token after the first", "首个词元之后至少须计入一个")
        return self

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Logits (1, T, V), ids (1, T), counted (1, T)."""
        ids = np.array([[self.vocabulary.index(word) for word in self.text]])
        return np.array([self.logits]), ids, np.array([self.counted])


def causal_language_modelling() -> Topic[CausalInputs]:
    """Predicting each token from those before it."""
    return Topic(
        name="causal-language-modelling",
        family="losses",
        title=tr("Causal language modelling", "因果语言建模"),
        idea=(
            tr("What can a model learn from text alone, without labels?", "没有标注，模型能从文本中学到什么？"),
            tr(
                "At every place it predicts the next token and pays the cross-entropy; the text is its own label.",
                "在每个位置预测下一个词元并付出交叉熵；文本即自己的标注。",
            ),
            tr(
                "One pass over T tokens gives T-1 lessons at once, because the mask hides what comes later.",
                "掩码遮住后文，故一次读 T 个词元便得 T-1 个训练信号。",
            ),
        ),
        formula=(r"L = -\frac{1}{M} \sum_{b=1}^{B} \sum_{t=1}^{T-1} m_{b,t} \log p(w_{b,t} \mid w_{b,<t})",),
        symbols={
            "w_{b,t}": tr("token t of text b, counted from 0; (B, T)", "文本 b 的第 t 个词元，自 0 计；(B, T)"),
            "m_{b,t}": tr("1 where the token is to be learned, else 0", "须学习的词元为 1，否则为 0"),
            "M": tr("how many tokens are learned in the whole batch", "整批中须学习的词元数"),
            "L": tr("nats per token", "单位：奈特每词元"),
        },
        inputs=CausalInputs,
        example=_causal_example,
        picture=_causal_picture,
        pitfalls=(
            tr(
                "The shift by one belongs to the data or to the loss, never to both: twice shifted predicts two ahead.",
                "错位一格只能由数据或损失之一完成；两边都做，就成了预测隔一个的词元。",
            ),
            tr(
                "Divide by M of the whole batch: means of rows' means let short texts weigh more per token.",
                "应除以整批的 M：先按行平均再平均，会让短文本的词元权重偏大。",
            ),
        ),
        papers=(
            "Bengio et al. 2003, A neural probabilistic language model, section 2",
            "Radford et al. 2018, Improving language understanding by generative pre-training, equation 1",
        ),
        theory=(theory.causal_lm_loss, theory.causal_lm_loss_gradient),
        practice=("zhixing.pretraining.causal:CausalLM.loss",),
        related=("cross-entropy", "causal-mask", "perplexity"),
    )


def _causal_example(inputs: CausalInputs) -> Iterator[Step]:
    logits, ids, counted = inputs.arrays()
    shifted = [f"{a} → {b}" for a, b in zip(inputs.text, inputs.text[1:], strict=False)]
    p = softmax(logits[0])
    yield Step(tr("distribution after each token", "各词元之后的分布"), p, "p", inputs.text, inputs.vocabulary)
    chosen = log_softmax(logits[0, :-1])[np.arange(len(shifted)), ids[0, 1:]]
    yield Step(
        tr("log-probability of what came", "实际后续词元的对数概率"), chosen, r"\log p(w_t \mid w_{<t})", (), shifted
    )
    yield Step(tr("which of them count", "哪些计入"), counted[0, 1:].astype(float), "m", columns=shifted)
    loss = theory.causal_lm_loss(logits, ids, counted)
    yield Step(tr("the mean of those, negated", "计入者取平均，变号"), loss, "L")
    gradient = theory.causal_lm_loss_gradient(logits, ids, counted)[0]
    yield Step(
        tr("the gradient; none at the last place", "梯度；末位为零"), gradient, "", inputs.text, inputs.vocabulary
    )


def _causal_picture(inputs: CausalInputs) -> HeatMap:
    title = tr("what is expected after each token", "各词元之后的预期")
    axes = tr("after", "已读"), tr("next", "下一个")
    return HeatMap(title, softmax(np.array(inputs.logits)), inputs.text, inputs.vocabulary, *axes)


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (causal_language_modelling,)
