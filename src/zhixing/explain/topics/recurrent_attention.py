"""Topics of recurrent encoder-decoders: looking back at the source, before the Transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import sequence_to_sequence as theory
from zhixing.theory.networks import tanh
from zhixing.theory.recurrent import Weights

BAHDANAU = "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate"
LUONG = "Luong, Pham & Manning 2015, Effective approaches to attention-based neural machine translation"


class LookingInputs(Settings):
    """A decoder's state, and the encoder's states of a few source words."""

    source: tuple[str, ...] = setting(("the", "black", "cat"), "source words (S)", "源词 (S)", min_length=1)
    annotations: Matrix = setting(
        ((0.1, 0.1), (1.0, -1.0), (-1.0, 1.0)), "their encoder states (S, K)", "其编码器状态 (S, K)", min_length=1
    )
    query: Vector = setting((-1.0, 1.0), "state of the decoder (Q)", "解码器的状态 (Q)", min_length=1)

    @model_validator(mode="after")
    def _annotations_fit(self) -> Self:
        require_shape("annotations", self.annotations, len(self.source), len(self.annotations[0]))
        return self


class AdditiveInputs(LookingInputs):
    """The same, and a small network that compares."""

    query_weight: Matrix = setting(((1.0, 0.0), (0.0, 1.0)), "W (Q, A)", "W (Q, A)，查询权重", min_length=1)
    key_weight: Matrix = setting(((1.0, 0.0), (0.0, 1.0)), "U (K, A)", "U (K, A)，键权重", min_length=1)
    score_weight: Vector = setting((-2.0, 2.0), "v (A)", "v (A)，打分权重", min_length=1)

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        width = len(self.score_weight)
        require_shape("query_weight", self.query_weight, len(self.query), width)
        require_shape("key_weight", self.key_weight, len(self.annotations[0]), width)
        return self


def additive_attention() -> Topic[AdditiveInputs]:
    """Bahdanau's alignment model."""
    return Topic(
        name="additive-attention",
        family="sequence_to_sequence",
        title=tr("Additive attention", "加性注意力"),
        idea=(
            tr(
                "An encoder squeezes a sentence into one vector; a long sentence does not fit.",
                "编码器把整句压成一个向量；句子一长，便容纳不下。",
            ),
            tr(
                "So a small network scores every source state, and the decoder reads their mean, weighted by softmax.",
                "于是用一个小网络给每个源状态打分，解码器读取经 softmax 加权的平均。",
            ),
            tr(
                "Translation and alignment are learned together, and quality no longer falls with length.",
                "翻译与对齐一并学得，质量不再随句长下降。",
            ),
        ),
        formula=(
            r"e_j = v^\top \tanh(s W + h_j U)",
            r"\alpha_j = \frac{\exp(e_j)}{\sum_{k=1}^{S} \exp(e_k)}",
            r"c = \sum_{j=1}^{S} \alpha_j h_j",
        ),
        symbols={
            "s": tr("state of the decoder before it writes, (Q,)", "解码器写词之前的状态，(Q,)"),
            "h_j": tr("encoder's state at source word j, (K,)", "编码器在源词 j 处的状态，(K,)"),
            "W, U, v": tr("(Q, A), (K, A), (A,): what the comparison learns", "(Q, A)、(K, A)、(A,)：打分网络的参数"),
            r"\alpha_j": tr("weight of source word j; they sum to one", "源词 j 的权重；总和为一"),
            "c": tr("context, (K,)", "上下文向量，(K,)"),
        },
        inputs=AdditiveInputs,
        example=_additive_example,
        picture=_additive_picture,
        pitfalls=(
            tr(
                "Mask the padding of the source with minus infinity before softmax, not with zero after it.",
                "源端填充应在 softmax 之前置为负无穷，而非在其后置零。",
            ),
            tr(
                "The products of the source states with U are the same at every step: compute them once per sentence.",
                "源状态与 U 的乘积每步相同：每句只算一次。",
            ),
            tr(
                "The tanh of every pair costs memory (queries × source × A), which a product does not.",
                "每一对都要算 tanh，占用内存（查询数 × 源长 × A）；点积则不必。",
            ),
        ),
        papers=(f"{BAHDANAU}, section 3.1 and appendix A.1.2",),
        theory=(theory.additive_attention, theory.additive_scores, theory.additive_attention_gradient),
        practice=("zhixing.nn.recurrent_attention:AdditiveAttention",),
        related=("multiplicative-attention", "encoder-decoder", "attention"),
    )


def _additive(inputs: AdditiveInputs) -> tuple[NDArray[Any], NDArray[Any], theory.Alignment]:
    learned = theory.Alignment(*(np.array(w) for w in (inputs.query_weight, inputs.key_weight, inputs.score_weight)))
    return np.array([inputs.query]), np.array([inputs.annotations]), learned


def _additive_example(inputs: AdditiveInputs) -> Iterator[Step]:
    query, annotations, learned = _additive(inputs)
    hidden, width = tanh((query @ learned.query)[:, None] + annotations @ learned.key)[0], len(inputs.score_weight)
    says = tr("compare the state with each source word", "将状态与每个源词相比")
    yield Step(says, hidden, r"\tanh(s W + h_j U)", inputs.source, numbered("a", width))
    yield from _weigh(inputs, theory.additive_scores(query, annotations, learned), r"v^\top \tanh(\cdot)")


def _weigh(inputs: LookingInputs, scores: NDArray[Any], formula: str) -> Iterator[Step]:
    annotations = np.array([inputs.annotations])
    context, weights = theory.attend(scores, annotations)
    yield Step(tr("a score for each", "各得一分"), scores[0], f"e_j = {formula}", columns=inputs.source)
    yield Step(tr("softmax: the weights", "取 softmax 得权重"), weights[0], r"\alpha_j", columns=inputs.source)
    says = tr("the mean of the source states, so weighted", "以此加权平均源状态")
    yield Step(says, context[0], r"c = \sum_j \alpha_j h_j", columns=numbered("c", annotations.shape[-1]))


def _additive_picture(inputs: AdditiveInputs) -> Bars:
    weights = theory.additive_attention(*_additive(inputs))[1]
    return Bars(tr("where the decoder looks", "解码器看向何处"), inputs.source, {"α": weights[0]}, "α")


class MultiplicativeInputs(LookingInputs):
    """The same, and one matrix that compares."""

    weight: Matrix = setting(
        ((1.0, 0.0), (0.0, 1.0)), "W (Q, K); identity: dot", "W (Q, K)；单位阵即点积", min_length=1
    )

    @model_validator(mode="after")
    def _weight_fits(self) -> Self:
        require_shape("weight", self.weight, len(self.query), len(self.annotations[0]))
        return self


def multiplicative_attention() -> Topic[MultiplicativeInputs]:
    """Luong's general and dot scores."""
    return Topic(
        name="multiplicative-attention",
        family="sequence_to_sequence",
        title=tr("Multiplicative attention", "乘性注意力"),
        idea=(
            tr(
                "Must a network compare the decoder's state with each source state, or will a product do?",
                "比较解码器状态与各源状态，必须用网络，还是点积就够了？",
            ),
            tr(
                "One matrix maps the state into the encoder's space; its product with each source state is the score.",
                "用一个矩阵把状态映入编码器的空间，再与各源状态作点积，即得分数。",
            ),
            tr(
                "All scores are one matrix product: fast, and the ancestor of the Transformer's attention.",
                "全部分数只需一次矩阵乘法：快，且是 Transformer 注意力的前身。",
            ),
        ),
        formula=(r"e_j = s W h_j^\top", r"\alpha = \operatorname{softmax}(e)", r"c = \sum_{j=1}^{S} \alpha_j h_j"),
        symbols={
            "s": tr("state of the decoder, (1, Q)", "解码器的状态，(1, Q)"),
            "h_j": tr("encoder's state at source word j, (1, K)", "编码器在源词 j 处的状态，(1, K)"),
            "W": tr("(Q, K); the identity gives the dot product", "(Q, K)；取单位阵即为点积"),
            "c": tr("context, (K,)", "上下文向量，(K,)"),
        },
        inputs=MultiplicativeInputs,
        example=_multiplicative_example,
        picture=_multiplicative_picture,
        pitfalls=(
            tr(
                "Nothing divides by a root here: with wide states the products grow and softmax saturates; "
                "the Transformer added the scale.",
                "此处不除以根号：状态一宽，点积便增大，softmax 趋于饱和；Transformer 才加上缩放。",
            ),
            tr(
                "The dot form needs states of one width and one space; with separate networks use the matrix.",
                "点积形式要求两端状态同宽且同一空间；两端网络各异时，应使用矩阵。",
            ),
            tr(
                "Luong looks from the state just reached, Bahdanau from the one before: the two are wired differently.",
                "Luong 以刚算出的状态去看，Bahdanau 以前一状态去看：两者接法不同。",
            ),
        ),
        papers=(f"{LUONG}, section 3.1, equation 8", "Vaswani et al. 2017, Attention is all you need, section 3.2.1"),
        theory=(
            theory.multiplicative_attention,
            theory.multiplicative_scores,
            theory.multiplicative_attention_gradient,
        ),
        practice=("zhixing.nn.recurrent_attention:MultiplicativeAttention",),
        related=("additive-attention", "attention", "encoder-decoder"),
    )


def _multiplicative_scores(inputs: MultiplicativeInputs) -> NDArray[Any]:
    return theory.multiplicative_scores(
        np.array([inputs.query]), np.array([inputs.annotations]), np.array(inputs.weight)
    )


def _multiplicative_example(inputs: MultiplicativeInputs) -> Iterator[Step]:
    mapped = np.array(inputs.query) @ np.array(inputs.weight)
    says = tr("map the state into the encoder's space", "把状态映入编码器的空间")
    yield Step(says, mapped, "s W", columns=numbered("k", len(mapped)))
    yield from _weigh(inputs, _multiplicative_scores(inputs), r"s W h_j^\top")


def _multiplicative_picture(inputs: MultiplicativeInputs) -> Bars:
    weights = theory.attend(_multiplicative_scores(inputs), np.array([inputs.annotations]))[1]
    return Bars(tr("where the decoder looks", "解码器看向何处"), inputs.source, {"α": weights[0]}, "α")


class EncoderDecoderInputs(Settings):
    """A source that has been read, words to be written, and a decoder of one unit that walks along the source.

    The second entry of every encoder state is 1; it serves as the bias that these formulas do not have.
    """

    source: tuple[str, ...] = setting(("the", "cat", "sleeps"), "source words (S)", "源词 (S)", min_length=1)
    annotations: Matrix = setting(
        ((-0.9, 1.0), (0.0, 1.0), (0.9, 1.0)), "their encoder states (S, K)", "其编码器状态 (S, K)", min_length=1
    )
    target: tuple[str, ...] = setting(("le", "chat", "dort"), "words written (T)", "写出的词 (T)", min_length=1)
    token: Vector = setting((0.0, 1.5, 3.0), "the word before each, width 1 (T)", "各自前一词的向量，宽度 1 (T)")
    state: float = setting(-0.9, "of the decoder at first", "解码器的初始状态")
    query_weight: Vector = setting((-4.0, -4.0), "W of the attention (A)", "注意力的 W (A)", min_length=1)
    key_weight: Matrix = setting(((4.0, 4.0), (2.0, -2.0)), "U of the attention (K, A)", "注意力的 U (K, A)")
    score_weight: Vector = setting((2.0, -2.0), "v of the attention (A)", "注意力的 v (A)")
    token_weight: Vector = setting((0.0, 0.0, 1.0), "of the word, for r, z, n", "词的权重，对 r、z、n")
    context_weight: Matrix = setting(
        ((0.0, 0.0, 0.0), (0.0, -6.0, 0.0)), "of the context (K, 3), for r, z, n", "上下文的权重 (K, 3)，对 r、z、n"
    )

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        width = len(self.annotations[0])
        require_shape("annotations", self.annotations, len(self.source), width)
        require_length("token", self.token, len(self.target))
        require_length("score_weight", self.score_weight, len(self.query_weight))
        require_shape("key_weight", self.key_weight, width, len(self.query_weight))
        require_length("token_weight", self.token_weight, 3)
        require_shape("context_weight", self.context_weight, width, 3)
        return self


def encoder_decoder() -> Topic[EncoderDecoderInputs]:
    """One network reads, another writes."""
    return Topic(
        name="encoder-decoder",
        family="sequence_to_sequence",
        title=tr("Recurrent encoder-decoder", "循环编码器-解码器"),
        idea=(
            tr(
                "A translation has another length and order than its source; how can a network write it?",
                "译文与原文长短有别、语序不同；网络如何写出译文？",
            ),
            tr(
                "One network reads the source into states; another writes word by word, looking back at them.",
                "一个网络把原文读成一列状态；另一个逐词书写，每次回看这些状态。",
            ),
            tr(
                "Reading and writing are trained as one function, by the likelihood of the target words.",
                "读与写作为同一个函数，以目标词的似然一并训练。",
            ),
        ),
        formula=(
            r"h_1, \ldots, h_S = \operatorname{encoder}(x_1, \ldots, x_S)",
            r"c_i = \sum_{j=1}^{S} \alpha_{ij} h_j",
            r"s_i = \operatorname{GRU}([y_{i-1}; c_i], s_{i-1})",
            r"p(y_i \mid y_{<i}, x) = \operatorname{softmax}(s_i V^\top)",
        ),
        symbols={
            "x, y": tr("source and target words", "源词与目标词"),
            "h_j": tr("encoder's state at source word j, (K,)", "编码器在源词 j 处的状态，(K,)"),
            r"\alpha_{ij}": tr("how much step i looks at word j", "第 i 步看向词 j 的权重"),
            "s_i": tr(
                "decoder's state, (Q,); at first from the encoder's end", "解码器状态，(Q,)；初值取自编码器末状态"
            ),
            "V": tr("output embedding, (words, Q)", "输出词嵌入，(词表大小, Q)"),
        },
        inputs=EncoderDecoderInputs,
        example=_encoder_decoder_example,
        picture=_encoder_decoder_picture,
        pitfalls=(
            tr(
                "In training the decoder reads the true words, in use its own: errors feed on themselves.",
                "训练时解码器读入真实词，使用时读入自己写的词：错误会自我滋长。",
            ),
            tr(
                "The target must begin with a start token and end with an end token, or writing never stops.",
                "目标序列须以起始词元开头、以结束词元收尾，否则书写不会停止。",
            ),
            tr(
                "Beam search needs a length penalty: the sum of log-probabilities favours short translations.",
                "束搜索须加长度惩罚：对数概率之和偏爱短译文。",
            ),
        ),
        papers=(
            "Sutskever, Vinyals & Le 2014, Sequence to sequence learning with neural networks",
            "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder",
            f"{BAHDANAU}, section 3 and appendix A.1",
        ),
        theory=(theory.additive_decoder_step, theory.multiplicative_decoder_step),
        related=("additive-attention", "multiplicative-attention", "gru", "cross-attention"),
    )


def _written(inputs: EncoderDecoderInputs) -> tuple[NDArray[Any], NDArray[Any]]:
    """The decoder's state (T,) and its weights over the source (T, S) at each word written."""
    annotations = np.array([inputs.annotations])
    learned = theory.Alignment(
        np.array([inputs.query_weight]), np.array(inputs.key_weight), np.array(inputs.score_weight)
    )
    read = np.array([inputs.token_weight, *inputs.context_weight])
    gates = Weights(read, np.zeros((1, 3)), np.zeros(3), np.zeros(3))
    state, states, looked = np.array([[inputs.state]]), [], []
    for token in inputs.token:
        state, weights = theory.additive_decoder_step(np.array([[token]]), state, annotations, learned, gates)
        states.append(float(state[0, 0]))
        looked.append(weights[0])
    return np.array(states), np.stack(looked)


def _encoder_decoder_example(inputs: EncoderDecoderInputs) -> Iterator[Step]:
    annotations = np.array(inputs.annotations)
    units = numbered("h", annotations.shape[1])
    says = tr("the encoder has read the source into states", "编码器已将原文读成各状态")
    yield Step(says, annotations, "h_j", inputs.source, units)
    states, looked = _written(inputs)
    says = tr("from its first state the decoder looks", "解码器由初始状态看向原文")
    yield Step(says, looked[0], r"\alpha_{1j}", columns=inputs.source)
    yield Step(tr("and reads the mean", "读得加权平均"), looked[0] @ annotations, "c_1", columns=units)
    says = tr(f"that gives the state that writes “{inputs.target[0]}”", f"由此得出写“{inputs.target[0]}”的状态")
    yield Step(says, float(states[0]), r"s_1 = \operatorname{GRU}([y_0; c_1], s_0)")
    says = tr("the state that writes each word", "写每个词时的状态")
    yield Step(says, states, "s_i", columns=inputs.target)
    says = tr("where each step looked: an alignment", "各步看向何处：一份对齐")
    yield Step(says, looked, r"\alpha_{ij}", inputs.target, inputs.source)


def _encoder_decoder_picture(inputs: EncoderDecoderInputs) -> HeatMap:
    title = tr("where each step of the decoder looks", "解码器各步看向何处")
    return HeatMap(
        title, _written(inputs)[1], inputs.target, inputs.source, tr("writing", "书写"), tr("source", "原文")
    )


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (encoder_decoder, additive_attention, multiplicative_attention)
