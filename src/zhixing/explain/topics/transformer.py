"""Topics of whole Transformers: a block, and the two layouts that most models follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, HeatMap, Tree
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import transformer as theory
from zhixing.theory.attention import Projections, attention, causal_mask
from zhixing.theory.networks import gelu_tanh, softmax
from zhixing.theory.normalisation import layer_norm, rms_norm

VASWANI = "Vaswani et al. 2017, Attention is all you need, section 3.1"
GPT2 = "Radford et al. 2019, Language models are unsupervised multitask learners, section 2.3"
LLAMA = "Touvron et al. 2023, LLaMA: open and efficient foundation language models, section 2.2"


def _plain_gpt2_block(width: int) -> theory.Gpt2Block:
    """A block whose every matrix is the identity, so that each step can be followed by hand."""
    eye, zero = np.eye(width), np.zeros(width)
    same, norm = (eye, zero), (np.ones(width), zero)
    return theory.Gpt2Block(norm, (np.hstack([eye] * 3), np.zeros(3 * width)), same, norm, same, same)


def _plain_llama_block(width: int) -> theory.LlamaBlock:
    """The same in the Llama layout."""
    eye, one = np.eye(width), np.ones(width)
    return theory.LlamaBlock(one, Projections(eye, eye, eye, eye), one, eye, eye, eye)


class BlockInputs(Settings):
    """Vectors of a few words; every matrix of the block is the identity."""

    words: tuple[str, ...] = setting(("the", "cat"), "words (T)", "词 (T)", min_length=1)
    x: Matrix = setting(((1.0, 0.0, -1.0), (0.0, 2.0, 1.0)), "vectors (T, D)", "向量 (T, D)", min_length=1)

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        require(len(self.x[0]) > 1, "x must have at least two numbers per word", "x 每个词至少须有两个数")
        require_shape("x", self.x, len(self.words), len(self.x[0]))
        return self


def transformer_block() -> Topic[BlockInputs]:
    """Attention and a feed-forward layer, each beside a shortcut."""
    return Topic(
        name="transformer-block",
        family="transformer",
        title=tr("The Transformer block", "Transformer 块"),
        idea=(
            tr(
                "A language model must move information between words and work on it within each word.",
                "语言模型须在词与词之间传递信息，又须在每个词内加工信息。",
            ),
            tr(
                "A block does one after the other: attention moves, a feed-forward layer works, both add to the input.",
                "一个块先后完成两者：注意力负责传递，前馈层负责加工，结果都加回输入。",
            ),
            tr(
                "Since each part only adds, gradients pass straight through, and a hundred blocks can be stacked.",
                "既然各部分只作加法，梯度便能直通，上百个块也叠得起来。",
            ),
        ),
        formula=(
            r"x \leftarrow x + \operatorname{Attention}(\operatorname{LN}(x))",
            r"x \leftarrow x + \operatorname{GELU}(\operatorname{LN}(x) W_1) W_2",
        ),
        symbols={
            "x": tr("vectors of the words (residual stream), (T, D)", "各词的向量（残差流），(T, D)"),
            r"\operatorname{LN}": tr("layer norm, on each word alone", "层归一化，逐词进行"),
            "W_1, W_2": tr("feed-forward weights, (D, F) and (F, D)", "前馈权重，(D, F) 与 (F, D)"),
        },
        inputs=BlockInputs,
        example=_block_example,
        picture=_block_picture,
        pitfalls=(
            tr(
                "The 2017 paper normalises after adding (post-norm); such deep stacks need warm-up, pre-norm does not.",
                "2017 年论文在相加之后归一化（post-norm）；叠深了须预热，pre-norm 则不必。",
            ),
            tr(
                "With pre-norm the sum grows from block to block: one more norm must stand before the output.",
                "pre-norm 下残差逐块增大：输出之前须再加一次归一化。",
            ),
            tr(
                "The feed-forward layer sees one word at a time; only attention mixes words.",
                "前馈层一次只看一个词；混合词与词的只有注意力。",
            ),
        ),
        papers=(VASWANI, GPT2, "Xiong et al. 2020, On layer normalization in the Transformer architecture"),
        theory=(theory.gpt2_block, theory.llama_block),
        practice=("zhixing.models.gpt2:Block", "zhixing.models.llama:Block"),
        related=("attention", "layer-norm", "gpt-2", "llama"),
    )


def _block_parts(x: NDArray[Any]) -> list[NDArray[Any]]:
    """What each stage gives: norm, attention, first sum, norm, feed-forward."""
    one, zero = np.ones(x.shape[1]), np.zeros(x.shape[1])
    normal = layer_norm(x, one, zero)
    read = attention(normal, normal, normal, causal_mask(len(x), len(x)))
    again = layer_norm(x + read, one, zero)
    return [normal, read, x + read, again, gelu_tanh(again)]


def _block_example(inputs: BlockInputs) -> Iterator[Step]:
    x = np.array(inputs.x)
    columns = numbered("d", x.shape[1])
    says = (
        tr("normalise each word", "逐词归一化"),
        tr("read from the words so far (causal)", "读取至今各词（因果）"),
        tr("add to the input", "加回输入"),
        tr("normalise again", "再归一化"),
        tr("feed-forward with GELU", "经 GELU 的前馈层"),
    )
    formulas = (
        r"\operatorname{LN}(x)",
        r"\operatorname{Attention}",
        "x",
        r"\operatorname{LN}(x)",
        r"\operatorname{GELU}",
    )
    for sentence, value, formula in zip(says, _block_parts(x), formulas, strict=True):
        yield Step(sentence, value, formula, inputs.words, columns)
    out = theory.gpt2_block(x, _plain_gpt2_block(x.shape[1]), 1, causal_mask(len(x), len(x)))
    yield Step(tr("add again: the block's output", "再相加：块的输出"), out, "x", inputs.words, columns)


def _block_picture(inputs: BlockInputs) -> Tree:
    plus = tr("add to the stream", "加回残差流")
    attend = Tree(tr("attention: between words", "注意力：词与词之间"), (Tree(tr("layer norm", "层归一化")),))
    think = Tree(tr("feed-forward: within a word", "前馈：词内"), (Tree(tr("layer norm", "层归一化")),))
    first = Tree(plus, (Tree(f"x ({len(inputs.words)}, {len(inputs.x[0])})"), attend))
    return Tree(plus, (first, think))


class ModelInputs(Settings):
    """A text of a few tokens, embeddings, and the sizes of a real model to count its weights."""

    vocabulary: tuple[str, ...] = setting(("the", "cat", "sat"), "tokens (V)", "词表 (V)", min_length=2)
    text: tuple[str, ...] = setting(("the", "cat"), "tokens read (T)", "读入的词元 (T)", min_length=1)
    embedding: Matrix = setting(
        ((1.0, 0.0, -1.0), (0.0, 2.0, 1.0), (-1.0, 1.0, 0.0)), "embeddings (V, D)", "词嵌入 (V, D)", min_length=2
    )
    vocab_size: int = setting(50257, "tokens of the real model", "真实模型的词元数", ge=1)
    width: int = setting(768, "its width (D)", "其宽度 D", ge=1)
    layers: int = setting(12, "its blocks (L)", "其块数 L", ge=1)

    @model_validator(mode="after")
    def _text_fits(self) -> Self:
        require(len(self.embedding[0]) > 1, "embedding must have at least two columns", "embedding 至少须有两列")
        require_shape("embedding", self.embedding, len(self.vocabulary), len(self.embedding[0]))
        strange = [word for word in self.text if word not in self.vocabulary]
        require(not strange, f"not in the vocabulary: {', '.join(strange)}", f"不在词表中：{'、'.join(strange)}")
        return self

    def ids(self) -> NDArray[Any]:
        """The text as ids (T,)."""
        return np.array([self.vocabulary.index(word) for word in self.text])


class Gpt2Inputs(ModelInputs):
    """The same with a vector for each place."""

    positions: Matrix = setting(((0.0, 0.0, 0.0), (0.5, -0.5, 0.0)), "place vectors (P, D)", "位置向量 (P, D)")
    context: int = setting(1024, "its context (P)", "其上下文长度 P", unit="tokens", ge=1)

    @model_validator(mode="after")
    def _places_suffice(self) -> Self:
        require_shape("positions", self.positions, len(self.positions), len(self.embedding[0]))
        require(
            len(self.positions) >= len(self.text),
            f"{len(self.text)} tokens but {len(self.positions)} places; give a row of positions for each token",
            f"词元 {len(self.text)} 个，位置 {len(self.positions)} 个；请为每个词元给一行 positions",
        )
        return self


def gpt_2() -> Topic[Gpt2Inputs]:
    """The GPT-2 layout."""
    return Topic(
        name="gpt-2",
        family="transformer",
        title=tr("GPT-2", "GPT-2"),
        idea=(
            tr("How do the parts make a model that writes?", "这些部件如何组成能写作的模型？"),
            tr(
                "Token and place vectors are added, pass blocks, are normalised, and meet the embeddings again.",
                "词元与位置向量相加，经过若干块，归一化，再与词嵌入相乘。",
            ),
            tr(
                "The products score every token as the next one; one table serves both ends.",
                "乘积即各词元作为下一个的得分；首尾共用一张表。",
            ),
        ),
        formula=(
            r"x_t = E_{w_t} + P_t",
            r"\text{logits} = \operatorname{LN}(\operatorname{blocks}(x))\, E^\top",
            r"\text{parameters} = V D + P D + L (12 D^2 + 13 D) + 2 D",
        ),
        symbols={
            "E": tr("embeddings, (V, D)", "词嵌入，(V, D)"),
            "P": tr("place vectors, (P, D)", "位置向量，(P, D)"),
            "w_t": tr("token at place t", "位置 t 上的词元"),
            "L": tr("blocks", "块数"),
        },
        inputs=Gpt2Inputs,
        example=_gpt2_example,
        picture=_gpt2_picture,
        pitfalls=(
            tr(
                "Saved GPT-2 weights are (inputs, outputs), the transpose of a linear layer's.",
                "GPT-2 存储的权重为（输入, 输出），是线性层权重的转置。",
            ),
            tr(
                "The tied table must be counted once: 124 million parameters, not 163.",
                "共用的表只计一次：参数量为 1.24 亿而非 1.63 亿。",
            ),
            tr(
                "Projections into the residual stream start smaller by the root of 2 L, or its variance grows.",
                "通向残差流的投影初值须再除以 √(2L)，否则方差随深度增大。",
            ),
        ),
        papers=(GPT2, "Press & Wolf 2017, Using the output embedding to improve language models (tied tables)"),
        theory=(theory.gpt2_logits, theory.gpt2_block),
        practice=("zhixing.models.gpt2:GPT2",),
        related=("transformer-block", "learned-positions", "llama"),
    )


def _gpt2_stream(inputs: Gpt2Inputs) -> NDArray[Any]:
    return np.asarray(np.array(inputs.embedding)[inputs.ids()] + np.array(inputs.positions)[: len(inputs.text)])


def _gpt2_probabilities(inputs: Gpt2Inputs) -> NDArray[Any]:
    embedding, width = np.array(inputs.embedding), len(inputs.embedding[0])
    norm = (np.ones(width), np.zeros(width))
    blocks = [_plain_gpt2_block(width)]
    return softmax(theory.gpt2_logits(inputs.ids(), embedding, np.array(inputs.positions), blocks, norm, heads=1))


def _gpt2_example(inputs: Gpt2Inputs) -> Iterator[Step]:
    x = _gpt2_stream(inputs)
    columns = numbered("d", x.shape[1])
    yield Step(tr("token and place vectors, added", "词元与位置向量之和"), x, "x_t", inputs.text, columns)
    mask = causal_mask(len(x), len(x))
    x = theory.gpt2_block(x, _plain_gpt2_block(x.shape[1]), 1, mask)
    yield Step(tr("after one block of identities", "经一个单位阵块之后"), x, "x", inputs.text, columns)
    x = layer_norm(x, np.ones(x.shape[1]), np.zeros(x.shape[1]))
    yield Step(tr("the last norm", "最后的归一化"), x, r"\operatorname{LN}(x)", inputs.text, columns)
    p = _gpt2_probabilities(inputs)
    says = tr("products with the embeddings, softmax", "与词嵌入相乘，取 softmax")
    yield Step(says, p, "p", inputs.text, inputs.vocabulary)
    d, block = inputs.width, 12 * inputs.width**2 + 13 * inputs.width
    yield Step(tr("the real model: weights of a block", "真实模型：一个块的权重数"), f"{block:,}", "12 D^2 + 13 D")
    total = (inputs.vocab_size + inputs.context) * d + inputs.layers * block + 2 * d
    yield Step(tr("of the whole", "整个模型的权重数"), f"{total:,}", r"V D + P D + L (12 D^2 + 13 D) + 2 D")


def _gpt2_picture(inputs: Gpt2Inputs) -> HeatMap:
    title, axes = tr("what comes next", "下一个词元"), (tr("after", "已读"), tr("next", "下一个"))
    return HeatMap(title, _gpt2_probabilities(inputs), inputs.text, inputs.vocabulary, *axes)


class LlamaInputs(ModelInputs):
    """The same with vectors of even width, and the sizes that only Llama has."""

    embedding: Matrix = setting(
        ((1.0, 7.0), (3.0, -1.0), (-1.0, 2.0)), "embeddings (V, D), D even", "词嵌入 (V, D)，D 为偶数", min_length=2
    )
    vocab_size: int = setting(32000, "tokens of the real model", "真实模型的词元数", ge=1)
    width: int = setting(4096, "its width (D)", "其宽度 D", ge=1)
    layers: int = setting(32, "its blocks (L)", "其块数 L", ge=1)
    hidden: int = setting(11008, "its feed-forward width (F)", "其前馈宽度 F", ge=1)
    heads: tuple[int, ...] = setting((32, 32), "its query and key-value heads (H, G)", "其查询头与键值头数 (H, G)")

    @model_validator(mode="after")
    def _even_and_divisible(self) -> Self:
        require(len(self.embedding[0]) % 2 == 0, "embedding must have an even width", "embedding 的宽度须为偶数")
        require_length("heads", self.heads, 2)
        fits = min(self.heads) > 0 and self.width % self.heads[0] == 0 and self.heads[0] % self.heads[1] == 0
        require(fits, "heads must be [H, G]: H divides width, G divides H", "heads 须为 [H, G]：H 整除宽度，G 整除 H")
        return self


def llama() -> Topic[LlamaInputs]:
    """The Llama layout."""
    return Topic(
        name="llama",
        family="transformer",
        title=tr("Llama", "Llama"),
        idea=(
            tr("What did four years of practice change in GPT-2's layout?", "四年的实践对 GPT-2 的结构改了什么？"),
            tr(
                "RMS norm for layer norm, rotary for learned positions, SwiGLU for GELU, shared keys, and no biases.",
                "RMSNorm 代层归一化，旋转位置代可学习位置，SwiGLU 代 GELU，键值共享，去掉偏置。",
            ),
            tr(
                "Each change is small; together they train faster and have become the common layout of open models.",
                "每项改动都小；合起来训练更快，遂成开放模型的通行结构。",
            ),
        ),
        formula=(
            r"x \leftarrow x + \operatorname{Attention}(\operatorname{RMS}(x))",
            r"x \leftarrow x + \operatorname{SwiGLU}(\operatorname{RMS}(x))",
            r"\text{parameters} = 2 V D + L (2 D^2 + 2 \frac{G}{H} D^2 + 3 D F + 2 D) + D",
        ),
        symbols={
            "x": tr("vectors of the tokens, (T, D)", "各词元的向量，(T, D)"),
            "H, G": tr("query heads and key-value heads", "查询头数与键值头数"),
            "F": tr("feed-forward width", "前馈宽度"),
            "L, V": tr("blocks; tokens of the vocabulary", "块数；词表大小"),
        },
        inputs=LlamaInputs,
        example=_llama_example,
        picture=_llama_picture,
        pitfalls=(
            tr(
                "Input and output tables are apart in the large models, shared in the small ones: read the config.",
                "大模型的输入、输出表分开，小模型的共用：须看配置。",
            ),
            tr(
                "Rotary base and ε are part of the model (10000 or 500000; 1e-5 or 1e-6), not tunable afterwards.",
                "旋转的底数与 ε 属于模型本身（10000 或 500000；1e-5 或 1e-6），事后不可调。",
            ),
        ),
        papers=(LLAMA, "Touvron et al. 2023, Llama 2: open foundation and fine-tuned chat models, section 2.2"),
        theory=(theory.llama_logits, theory.llama_block),
        practice=("zhixing.models.llama:Llama",),
        related=("gpt-2", "rms-norm", "rotary-positions", "swiglu", "grouped-query-attention"),
    )


def _llama_example(inputs: LlamaInputs) -> Iterator[Step]:
    embedding, ids = np.array(inputs.embedding), inputs.ids()
    width = embedding.shape[1]
    columns, one, block = numbered("d", width), np.ones(width), _plain_llama_block(width)
    x = embedding[ids]
    yield Step(tr("embeddings; no places are added", "词嵌入；不加位置"), x, "x", inputs.text, columns)
    yield Step(
        tr("divided by their root mean square", "除以均方根"),
        rms_norm(x, one),
        r"\operatorname{RMS}(x)",
        inputs.text,
        columns,
    )
    x = theory.llama_block(x, block, (1, 1), causal_mask(len(ids), len(ids)))
    yield Step(tr("after one block of identities", "经一个单位阵块之后"), x, "x", inputs.text, columns)
    p = softmax(theory.llama_logits(ids, embedding, [block], one, embedding.T, (1, 1)))
    yield Step(
        tr("last norm, output table, softmax", "末归一化、输出表、softmax"), p, "p", inputs.text, inputs.vocabulary
    )
    parts = _llama_parts(inputs)
    says = tr("the real model: weights of a block, millions", "真实模型：一个块的权重数，百万")
    yield Step(says, np.array(list(parts.values())) / 1e6, columns=list(parts))
    total = 2 * inputs.vocab_size * inputs.width + inputs.layers * sum(parts.values()) + inputs.width
    yield Step(tr("of the whole", "整个模型的权重数"), f"{total:,}", r"2 V D + L (\ldots) + D")


def _llama_parts(inputs: LlamaInputs) -> dict[str, int]:
    d, (h, g) = inputs.width, inputs.heads
    return {
        tr("queries, output", "查询与输出"): 2 * d * d,
        tr("keys, values", "键与值"): 2 * d * d * g // h,
        tr("feed-forward", "前馈"): 3 * d * inputs.hidden,
        tr("norms", "归一化"): 2 * d,
    }


def _llama_picture(inputs: LlamaInputs) -> Bars:
    parts = _llama_parts(inputs)
    title = tr("where a block's weights are", "一个块的权重分布")
    return Bars(
        title, list(parts), {tr("weights", "权重数"): np.array(list(parts.values())) / 1e6}, tr("millions", "百万")
    )


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (transformer_block, gpt_2, llama)
