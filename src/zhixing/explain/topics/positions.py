"""Topics of positions: how a Transformer, blind to order by itself, is told where a token stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import distances
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require, require_length
from zhixing.language import tr
from zhixing.theory import positions as theory


class SinusoidalInputs(Settings):
    """How many places, how wide a vector."""

    positions: int = setting(4, "places shown", "显示的位置数", ge=2, le=16)
    width: int = setting(4, "width of the model (D), even", "模型宽度 D，须为偶数", ge=2, le=64, multiple_of=2)
    base: float = setting(10000.0, "slowest wave: 2π times this", "最慢的波长为其 2π 倍", gt=1)


def sinusoidal_positions() -> Topic[SinusoidalInputs]:
    """Waves of many lengths."""
    return Topic(
        name="sinusoidal-positions",
        family="positions",
        title=tr("Sinusoidal positions", "正弦位置编码"),
        idea=(
            tr(
                "Attention treats a text as a set: without help it cannot tell 'dog bites man' from 'man bites dog'.",
                "注意力把文本当作集合：不加帮助，它分不清“狗咬人”与“人咬狗”。",
            ),
            tr(
                "Add to each token's vector sines and cosines of its place, from fast waves to very slow ones.",
                "给每个词元的向量加上其位置的正弦与余弦，波长由短至极长。",
            ),
            tr(
                "Every place gets its own pattern, and a shift by k is the same rotation everywhere.",
                "每个位置有独特的图样，而平移 k 格处处是同一个旋转。",
            ),
        ),
        formula=(
            r"\operatorname{PE}_{p,2i} = \sin(p / b^{2i/D})",
            r"\operatorname{PE}_{p,2i+1} = \cos(p / b^{2i/D})",
        ),
        symbols={
            "p": tr("place in the text, from 0; T of them", "文本中的位置，自 0 计；共 T 个"),
            "i": tr("number of the pair of columns, 0 to D/2 - 1", "列对的编号，0 至 D/2 - 1"),
            "b": tr("base, 10000 in the paper", "底数，论文取 10000"),
            r"\operatorname{PE}": tr("added to the embeddings, (T, D)", "加到词嵌入上，(T, D)"),
        },
        inputs=SinusoidalInputs,
        example=_sinusoidal_example,
        picture=_sinusoidal_picture,
        pitfalls=(
            tr(
                "Sines and cosines alternate here; some programs put all sines first. Columns must match the weights.",
                "此处正弦与余弦交替排列；有的程序先排全部正弦。列序须与权重一致。",
            ),
            tr(
                "Embeddings are multiplied by the root of D first, or the waves drown them.",
                "词嵌入须先乘以 √D，否则会被这些波淹没。",
            ),
        ),
        papers=("Vaswani et al. 2017, Attention is all you need, section 3.5",),
        theory=(theory.sinusoidal,),
        practice=("zhixing.nn.positions:sinusoidal",),
        related=("learned-positions", "rotary-positions"),
    )


def _sinusoidal_example(inputs: SinusoidalInputs) -> Iterator[Step]:
    places = np.arange(inputs.positions)
    rows, columns = [f"p = {p}" for p in places], numbered("d", inputs.width)
    speeds = inputs.base ** (-np.arange(0, inputs.width, 2) / inputs.width)
    yield Step(tr("the waves' speeds", "各波的角速度"), speeds, r"b^{-2i/D}", columns=numbered("i", len(speeds)))
    angles = places[:, None] * speeds
    yield Step(tr("angle at each place", "各位置的角度"), angles, r"p / b^{2i/D}", rows, numbered("i", len(speeds)))
    waves = theory.sinusoidal(places, inputs.width, inputs.base)
    yield Step(tr("sine and cosine of each", "各取正弦与余弦"), waves, r"\operatorname{PE}", rows, columns)
    says = tr("products of places: only the distance matters", "各位置之点积：只取决于距离")
    yield Step(says, waves @ waves.T, r"\operatorname{PE} \operatorname{PE}^\top", rows, rows)


def _sinusoidal_picture(inputs: SinusoidalInputs) -> HeatMap:
    places, width = np.arange(32), max(inputs.width, 16)
    waves = theory.sinusoidal(places, width, inputs.base)
    axes = tr("place", "位置"), tr("column", "列")
    rows, columns = [str(p) for p in places], [str(d) for d in range(width)]
    return HeatMap(tr("waves from fast to slow", "由快至慢的波"), waves, rows, columns, *axes)


class LearnedInputs(Settings):
    """A small table of vectors, one per place."""

    table: Matrix = setting(
        ((0.1, 0.2), (0.3, -0.1), (0.0, 0.5)), "vectors (P, D)", "各位置的向量 (P, D)", min_length=1
    )
    positions: tuple[int, ...] = setting((0, 1, 2), "places of the tokens", "各词元的位置", min_length=1)
    embedding: Vector = setting(
        (1.0, 1.0), "the tokens' vector, the same for all (D,)", "各词元相同的向量 (D,)", min_length=1
    )

    @model_validator(mode="after")
    def _inside_the_table(self) -> Self:
        for row in self.table:
            require_length("each row of table", row, len(self.embedding))
        last = len(self.table) - 1
        inside = all(0 <= place <= last for place in self.positions)
        require(inside, f"positions must lie between 0 and {last}", f"positions 须在 0 与 {last} 之间")
        return self


def learned_positions() -> Topic[LearnedInputs]:
    """A trained vector for each place."""
    return Topic(
        name="learned-positions",
        family="positions",
        title=tr("Learned positions", "可学习的位置嵌入"),
        idea=(
            tr("Why design a pattern for places, if it can be learned?", "位置的图样若能学得，何必设计？"),
            tr(
                "Keep a table with one vector per place, add it to the token's vector, and train it like any weight.",
                "设一张表，每个位置一个向量，与词元向量相加，如一般权重那样训练。",
            ),
            tr(
                "It fits the text it saw, and has nothing to say about any place beyond the table.",
                "它贴合所见的文本，而对表外的位置一无所知。",
            ),
        ),
        formula=(r"x_t = E_{w_t} + P_t",),
        symbols={
            "E": tr("embeddings of tokens, (V, D)", "词元嵌入，(V, D)"),
            "P": tr("table of places, (P, D), one row per place of the context", "位置表，(P, D)，上下文每个位置一行"),
            "x_t": tr("what the first layer reads, (D,)", "首层读入的向量，(D,)"),
        },
        inputs=LearnedInputs,
        example=_learned_example,
        pitfalls=(
            tr(
                "The context length is frozen into the weights: GPT-2 cannot read token 1025.",
                "上下文长度固定在权重之中：GPT-2 读不了第 1025 个词元。",
            ),
            tr(
                "Late places are seen less often when training texts are short, and stay badly trained.",
                "训练文本若偏短，靠后的位置少有机会，便训练不足。",
            ),
            tr(
                "With padding on the left, places must be counted from the first real token.",
                "左侧填充时，位置须从首个真实词元数起。",
            ),
        ),
        papers=("Gehring et al. 2017, Convolutional sequence to sequence learning, section 3.1",),
        theory=(theory.learned,),
        practice=("zhixing.models.gpt2:GPT2",),
        related=("sinusoidal-positions", "gpt-2"),
    )


def _learned_example(inputs: LearnedInputs) -> Iterator[Step]:
    table, places, embedding = np.array(inputs.table), np.array(inputs.positions), np.array(inputs.embedding)
    rows, columns = [f"p = {p}" for p in places], numbered("d", len(embedding))
    yield Step(tr("every token's own vector", "各词元自身的向量"), embedding, "E_w", columns=columns)
    yield Step(tr("the row of each place", "各位置所对应的行"), theory.learned(places, table), "P_t", rows, columns)
    x = embedding + theory.learned(places, table)
    yield Step(tr("their sum: equal tokens now differ", "两者之和：相同的词元有了区别"), x, "x_t", rows, columns)


class RotaryInputs(Settings):
    """A query and a key, and where they stand."""

    query: Vector = setting((1.0, 1.0, 0.0, 0.0), "query (E,), E even", "查询 (E,)，E 为偶数", min_length=2)
    key: Vector = setting((1.0, 1.0, 0.0, 0.0), "key (E,)", "键 (E,)", min_length=2)
    query_position: int = setting(3, "place of the query", "查询的位置", ge=0)
    key_position: int = setting(1, "place of the key", "键的位置", ge=0)
    shift: int = setting(10, "how far both are moved along", "两者一同平移的距离", ge=0)
    base: float = setting(10000.0, "sets the slowest turn", "决定最慢的转速", gt=1)

    @model_validator(mode="after")
    def _widths_fit(self) -> Self:
        require_length("key", self.key, len(self.query))
        require(len(self.query) % 2 == 0, "query must have an even width", "query 的宽度须为偶数")
        return self


def rotary_positions() -> Topic[RotaryInputs]:
    """Queries and keys turned by their places."""
    return Topic(
        name="rotary-positions",
        family="positions",
        title=tr("Rotary positions (RoPE)", "旋转位置编码（RoPE）"),
        idea=(
            tr(
                "What matters to attention is how far apart two tokens stand, not where.",
                "对注意力要紧的是两个词元相距多远，而非各在何处。",
            ),
            tr(
                "Turn each pair of columns of query and key by an angle proportional to the token's place.",
                "将查询与键的每对列按词元位置成比例地旋转一个角度。",
            ),
            tr(
                "In the product the two turns subtract, so only the distance is left; nothing is added or learned.",
                "作点积时两个旋转相减，只余距离；既不相加，也无须学习。",
            ),
        ),
        formula=(
            r"\begin{pmatrix} x'_i \\ x'_{i+E/2} \end{pmatrix} = \begin{pmatrix} \cos p\theta_i & -\sin p\theta_i \\ "
            r"\sin p\theta_i & \cos p\theta_i \end{pmatrix} \begin{pmatrix} x_i \\ x_{i+E/2} \end{pmatrix}",
            r"\theta_i = b^{-2i/E}",
        ),
        symbols={
            "x": tr("a query or a key of one head, (E,)", "某个头的查询或键，(E,)"),
            "p": tr("place of the token", "词元的位置"),
            r"\theta_i": tr("angle per place of pair i, radians", "第 i 对每格的角度，弧度"),
            "b": tr("base, usually 10000 or more", "底数，通常为 10000 或更大"),
        },
        inputs=RotaryInputs,
        example=_rotary_example,
        picture=_rotary_picture,
        pitfalls=(
            tr(
                "The paper pairs neighbours, Llama's weights pair the two halves: mixing them ruins the model.",
                "论文配对相邻的列，Llama 的权重配对前后两半：混用便毁了模型。",
            ),
            tr("Values are never turned.", "值从不旋转。"),
            tr(
                "Angles of far places need float32 or better: bfloat16 cannot tell place 4097 from 4096.",
                "远处位置的角度需 float32 以上的精度：bfloat16 分不清 4097 与 4096。",
            ),
        ),
        papers=(
            "Su et al. 2021, RoFormer: enhanced Transformer with rotary position embedding, section 3.2.2, equation 34",
        ),
        theory=(theory.rotary, theory.rotary_angles),
        practice=("zhixing.nn.positions:rotate", "zhixing.nn.positions:Rotary"),
        related=("attention", "alibi", "llama"),
    )


def _turned(x: Vector, place: int, base: float) -> NDArray[Any]:
    return theory.rotary(np.array([x]), np.array([place]), base)[0]


def _rotary_example(inputs: RotaryInputs) -> Iterator[Step]:
    asks, answers, base = inputs.query_position, inputs.key_position, inputs.base
    width = len(inputs.query)
    angles = theory.rotary_angles(np.array([asks, answers]), width, base)
    pairs, columns = numbered("i", width // 2), numbered("e", width)
    rows = (f"q, p = {asks}", f"k, p = {answers}")
    yield Step(tr("angles, radians", "角度，弧度"), angles, r"p\,\theta_i", rows, pairs)
    query, key = _turned(inputs.query, asks, base), _turned(inputs.key, answers, base)
    yield Step(tr("query and key, turned", "旋转后的查询与键"), np.stack([query, key]), "x'", rows, columns)
    yield Step(tr("their product", "两者点积"), float(query @ key), r"q' \cdot k'")
    moved = _turned(inputs.query, asks + inputs.shift, base) @ _turned(inputs.key, answers + inputs.shift, base)
    says = tr(f"both moved by {inputs.shift}: the same", f"一同平移 {inputs.shift} 格：不变")
    yield Step(says, float(moved), r"q' \cdot k'")


def _rotary_picture(inputs: RotaryInputs) -> Lines:
    distance = np.arange(65)
    products = np.array([_turned(inputs.query, d, inputs.base) @ np.array(inputs.key) for d in range(len(distance))])
    title = tr("product of query and key by their distance", "查询与键的点积与距离")
    return Lines(title, distance.astype(float), {"q′ · k′": products}, tr("distance", "距离"), "q′ · k′")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (
    sinusoidal_positions,
    learned_positions,
    rotary_positions,
    *distances.TOPICS,
)
