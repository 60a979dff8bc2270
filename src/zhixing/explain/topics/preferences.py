"""Topics of learning from judgements: DPO and GRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Vector, numbered, require, require_length
from zhixing.language import tr
from zhixing.theory import preference_losses as theory
from zhixing.theory.networks import sigmoid


class DpoInputs(Settings):
    """Log-probabilities of two answers to one question, under the model that learns and under the frozen one."""

    chosen: float = setting(-10.0, "of the better answer, model", "较好回答，模型", unit="nats", le=0)
    rejected: float = setting(-9.0, "of the worse answer, model", "较差回答，模型", unit="nats", le=0)
    ref_chosen: float = setting(-12.0, "of the better answer, reference", "较好回答，参考模型", unit="nats", le=0)
    ref_rejected: float = setting(-9.5, "of the worse answer, reference", "较差回答，参考模型", unit="nats", le=0)
    beta: float = setting(0.5, "how dear it is to leave the reference", "偏离参考模型的代价", gt=0)


def dpo() -> Topic[DpoInputs]:
    """Direct preference optimisation."""
    return Topic(
        name="dpo",
        family="losses",
        title=tr("DPO: direct preference optimisation", "DPO：直接偏好优化"),
        idea=(
            tr(
                "People can say which of two answers is better, but not how good each one is.",
                "人能说出两个回答哪个更好，却说不出各自有多好。",
            ),
            tr(
                "The best policy for a reward has a closed form: its log-ratio to the reference is the reward.",
                "对任一奖励，最优策略有闭式解；因此它与参考模型的对数比就是奖励。",
            ),
            tr(
                "So neither reward model nor sampling is needed: raise the chosen log-ratio above the rejected one's.",
                "于是无需奖励模型，也无需采样：只要让被选回答的对数比高过被拒回答。",
            ),
        ),
        formula=(
            r"\hat{r} = \beta \log \frac{\pi(y \mid x)}{\pi_{\text{ref}}(y \mid x)}",
            r"h = \hat{r}_{\text{chosen}} - \hat{r}_{\text{rejected}}",
            r"L = -\log \sigma(h)",
            r"\frac{\partial L}{\partial \log \pi_{\text{chosen}}} = -\beta \sigma(-h)",
        ),
        symbols={
            r"\pi": tr("probability of a whole answer under the model", "模型赋予整个回答的概率"),
            r"\pi_{\text{ref}}": tr("the same under the frozen reference", "冻结的参考模型赋予的概率"),
            r"\beta": tr("strength of the tie to the reference, often 0.1", "与参考模型的约束强度，常取 0.1"),
            "h": tr("margin of the implicit rewards, nats", "隐式奖励之差，单位奈特"),
            r"\sigma": tr("logistic function", "logistic 函数"),
        },
        inputs=DpoInputs,
        example=_dpo_example,
        picture=_dpo_picture,
        pitfalls=(
            tr(
                "Only the difference counts: both answers may become less likely while the loss falls. Watch both.",
                "损失只看差值：损失下降时，两个回答的概率可能都在降低，须同时监视。",
            ),
            tr(
                "Log-probabilities are sums over the answer's tokens; averaging, or counting the prompt, is wrong.",
                "对数概率须对回答自身的词元求和；取平均或计入提示都是错的。",
            ),
            tr(
                "The reference must be the model that training started from; another one makes the margin meaningless.",
                "参考模型须是训练的起点；换成别的模型，差值便失去意义。",
            ),
        ),
        papers=("Rafailov et al. 2023, Direct preference optimization, section 4 and equation 7",),
        theory=(theory.dpo_loss, theory.dpo_loss_gradient, theory.dpo_margin, theory.implicit_reward),
        practice=("zhixing.nn.preference_losses:dpo_sum",),
        related=("grpo", "binary-cross-entropy"),
    )


def _dpo_example(inputs: DpoInputs) -> Iterator[Step]:
    given = (inputs.chosen, inputs.rejected, inputs.ref_chosen, inputs.ref_rejected)
    chosen, rejected, ref_chosen, ref_rejected = (np.array([each]) for each in given)
    pairs = ((chosen, ref_chosen), (rejected, ref_rejected))
    rewards = [theory.implicit_reward(policy, reference, inputs.beta) for policy, reference in pairs]
    names = (tr("chosen", "被选"), tr("rejected", "被拒"))
    yield Step(
        tr("implicit rewards of both answers", "两个回答的隐式奖励"), np.concatenate(rewards), r"\hat{r}", columns=names
    )
    h = float(theory.dpo_margin(chosen, rejected, ref_chosen, ref_rejected, inputs.beta)[0])
    yield Step(tr("their difference", "两者之差"), h, "h")
    says = tr("probability that the chosen one is better", "“被选者更好”的概率")
    yield Step(says, float(sigmoid(np.array(h))), r"\sigma(h)")
    loss = theory.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, inputs.beta)
    yield Step(tr("minus its logarithm: the loss, in nats", "取负对数得损失，单位奈特"), loss, "L")
    slopes = np.concatenate(theory.dpo_loss_gradient(chosen, rejected, ref_chosen, ref_rejected, inputs.beta))
    yield Step(tr("gradients of the two log-probabilities", "两个对数概率的梯度"), slopes, columns=names)


def _dpo_picture(inputs: DpoInputs) -> Lines:
    h, zero = np.linspace(-4.0, 4.0, 81), np.zeros(1)
    losses = [theory.dpo_loss(np.array([each]), zero, zero, zero, 1.0) for each in h]
    pull = [-theory.dpo_loss_gradient(np.array([each]), zero, zero, zero, 1.0)[0][0] for each in h]
    curves = {tr("loss", "损失"): np.array(losses), tr("pull σ(−h)", "推力 σ(−h)"): np.array(pull)}
    return Lines(tr("pairs in the wrong order are pulled hardest", "次序颠倒的样本对推力最大"), h, curves, "h")


class GrpoInputs(Settings):
    """Rewards of several answers to one question, each of one token, and how the policy has moved since."""

    rewards: Vector = setting((1.0, 0.0, 0.0, 1.0), "one for each answer", "每个回答一个奖励", min_length=2)
    ratios: Vector = setting((1.5, 1.1, 0.7, 0.9), "new to old probability of each answer", "各回答的新旧概率比")
    clip: float = setting(0.2, "how far a ratio may move and still be rewarded", "概率比可获奖励的变动范围", gt=0, lt=1)
    beta: float = setting(
        0.04,
        "weight of the divergence from the old policy, here the reference",
        "与旧策略（此处即参考）散度的权重",
        ge=0,
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("ratios", self.ratios, len(self.rewards))
        require(min(self.ratios) > 0, "ratios must be above 0", "ratios 须大于 0")
        return self


def grpo() -> Topic[GrpoInputs]:
    """Group-relative policy optimisation."""
    return Topic(
        name="grpo",
        family="losses",
        title=tr("GRPO: policy gradients from groups", "GRPO：组内相对的策略梯度"),
        idea=(
            tr(
                "An answer was checked and earned a reward; was that much, for this question?",
                "一个回答经检验得到奖励；就这道题而言，这算高吗？",
            ),
            tr(
                "Draw several answers to one question: the advantage of each is its distance from the group's mean.",
                "对同一问题抽取多个回答：各自的优势即其奖励与组均值之距。",
            ),
            tr(
                "Make good answers likelier and bad ones less so, but stay near the old policy: the ratio is clipped.",
                "让好回答更可能、坏回答更不可能，但不许离采样时太远：概率比被截断。",
            ),
        ),
        formula=(
            r"A_i = \frac{r_i - \operatorname{mean}(r)}{\operatorname{std}(r)}",
            r"\rho = \frac{\pi}{\pi_{\text{old}}}",
            r"L = -\frac{1}{G} \sum_{i=1}^{G} \frac{1}{|o_i|} \sum_{t} (g - \beta D)",
            r"g = \min(\rho A_i, \operatorname{clip}(\rho, 1 - \epsilon, 1 + \epsilon) A_i)",
            r"D = \frac{\pi_{\text{ref}}}{\pi} - \log \frac{\pi_{\text{ref}}}{\pi} - 1",
        ),
        symbols={
            "r_i": tr("reward of answer i, of G", "第 i 个回答的奖励，共 G 个"),
            "A_i": tr("its advantage, in standard deviations of the group", "其优势，以组内标准差为单位"),
            r"\rho": tr("ratio of new to old probability of a token", "词元的新旧概率比"),
            "|o_i|": tr("length of answer i, tokens", "第 i 个回答的长度，单位为词元"),
            "g": tr("gain of a token, clipped at ε", "词元的收益，按 ε 截断"),
            "D": tr("estimate of the divergence from the reference, 0 or more", "与参考模型散度的估计，不小于 0"),
            r"\beta": tr("its weight", "其权重"),
        },
        inputs=GrpoInputs,
        example=_grpo_example,
        picture=_grpo_picture,
        pitfalls=_grpo_pitfalls(),
        papers=(
            "Shao et al. 2024, DeepSeekMath, section 4.1 and equations 3 and 4",
            "Schulman et al. 2017, Proximal policy optimization algorithms, equation 7",
        ),
        theory=(
            theory.grpo_loss,
            theory.grpo_loss_gradient,
            theory.group_advantages,
            theory.clipped_gain,
            theory.kl_estimate,
        ),
        practice=("zhixing.nn.preference_losses:grpo_sum", "zhixing.nn.preference_losses:group_advantages"),
        related=("dpo",),
    )


def _grpo_pitfalls() -> tuple[str, ...]:
    return (
        tr(
            "If all answers of a group earn the same, nothing is learned from it: too easy or too hard a question.",
            "若一组回答所得相同，便学不到东西：题目太易或太难。",
        ),
        tr(
            "Dividing by an answer's own length makes long wrong answers cheap; later work drops that division.",
            "除以各回答自身的长度会使冗长的错误回答代价偏低；后来有些工作去掉了这一除法。",
        ),
        tr(
            "The clip limits the gain, not the loss: a good answer made unlikely is pulled back with full force.",
            "截断限制的是收益而非损失：好回答若变得不可能，仍以全力拉回。",
        ),
    )


def _grpo_example(inputs: GrpoInputs) -> Iterator[Step]:
    rewards, ratios = np.array(inputs.rewards), np.array(inputs.ratios)
    names = numbered("o", len(rewards))
    moments = np.array([rewards.mean(), rewards.std()])
    yield Step(
        tr("mean and deviation of the rewards", "奖励的均值与标准差"),
        moments,
        columns=(tr("mean", "均值"), tr("std", "标准差")),
    )
    advantages = theory.group_advantages(rewards[None])[0]
    yield Step(tr("advantages", "优势"), advantages, "A_i", columns=names)
    yield Step(tr("ratio times advantage", "概率比乘优势"), ratios * advantages, r"\rho A", columns=names)
    gain = theory.clipped_gain(ratios, advantages, inputs.clip)
    yield Step(tr("clipped: the smaller of the two products", "截断：取两个乘积中较小者"), gain, columns=names)
    new, old = np.log(ratios)[:, None], np.zeros((len(ratios), 1))
    divergence = theory.kl_estimate(new, old)[:, 0]
    yield Step(tr("divergence", "散度"), divergence, "D", columns=names)
    counted = np.ones_like(old, dtype=bool)
    rest = (old, old, advantages, counted, inputs.clip, inputs.beta)
    yield Step(tr("minus the mean gain: the loss", "平均收益取负得损失"), theory.grpo_loss(new, *rest), "L")
    slope = theory.grpo_loss_gradient(new, *rest)[:, 0]
    yield Step(tr("gradient of every log-probability", "各对数概率的梯度"), slope, columns=names)


def _grpo_picture(inputs: GrpoInputs) -> Lines:
    ratio = np.linspace(0.0, 2.0, 101)
    curves = {f"A = {a:+g}": theory.clipped_gain(ratio, np.full(101, a), inputs.clip) for a in (1.0, -1.0)}
    return Lines(tr("what moving earns", "移动所得的收益"), ratio, curves, "ρ", tr("gain", "收益"))


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (dpo, grpo)
