r"""Learning from judgements: direct preference optimisation and group-relative policy gradients.

Log-probabilities are natural. Legend: N pairs of answers, Q questions, G answers to one question, T tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.networks import sigmoid

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def implicit_reward(policy: Array, reference: Array, beta: float) -> Array:
    r"""$\hat r(x, y) = \beta \log \frac{\pi(y \mid x)}{\pi_{\mathrm{ref}}(y \mid x)}$ of answers (N,); nats.

    ``policy`` and ``reference`` are log-probabilities of whole answers. Rafailov et al. (2023), section 4.
    Equation (preference_losses.1).

    >>> implicit_reward(np.log([0.4]), np.log([0.2]), beta=0.5).round(4)  # half of log 2
    array([0.3466])
    """
    return beta * (policy - reference)


def dpo_margin(chosen: Array, rejected: Array, ref_chosen: Array, ref_rejected: Array, beta: float) -> Array:
    r"""$h_i$: how much more reward the chosen answer has than the rejected one; (N,) each.
    Equation (preference_losses.2).

    >>> dpo_margin(np.log([0.4]), np.log([0.1]), np.log([0.2]), np.log([0.2]), beta=0.5).round(4)  # half of log 4
    array([0.6931])
    """
    return implicit_reward(chosen, ref_chosen, beta) - implicit_reward(rejected, ref_rejected, beta)


def dpo_loss(chosen: Array, rejected: Array, ref_chosen: Array, ref_rejected: Array, beta: float) -> float:
    r"""$-\frac1N \sum_i \log \sigma(h_i)$, computed as $\log(1 + e^{-h})$. Rafailov et al. (2023), equation 7.

    All are log-probabilities (N,) of whole answers, sums over their tokens; the reference does not learn.
    Equation (preference_losses.3).

    >>> round(dpo_loss(np.log([0.4]), np.log([0.1]), np.log([0.2]), np.log([0.2]), beta=0.5), 4)  # log 1.5
    0.4055
    """
    h = dpo_margin(chosen, rejected, ref_chosen, ref_rejected, beta)
    return float(np.logaddexp(0.0, -h).mean())


def dpo_loss_gradient(
    chosen: Array, rejected: Array, ref_chosen: Array, ref_rejected: Array, beta: float
) -> tuple[Array, Array]:
    r"""$-\frac{\beta}{N} \sigma(-h)$ for the chosen log-probability, the opposite for the rejected one; (N,) each.

    A pair ordered wrongly by the implicit reward weighs most. Rafailov et al. (2023), section 4.
    Equation (preference_losses.4).

    >>> first, second = dpo_loss_gradient(np.log([0.4]), np.log([0.1]), np.log([0.2]), np.log([0.2]), beta=0.5)
    >>> first.round(4), second.round(4)  # a third of beta
    (array([-0.1667]), array([0.1667]))
    """
    weight = beta * sigmoid(-dpo_margin(chosen, rejected, ref_chosen, ref_rejected, beta)) / len(chosen)
    return -weight, weight


def group_advantages(rewards: Array, epsilon: float = 1e-4) -> Array:
    r"""$A_i = (r_i - \mathrm{mean}(r)) / (\mathrm{std}(r) + \varepsilon)$ within each question; (Q, G) -> (Q, G).

    The standard deviation is that of the group itself (divided by G). A group whose answers all earn the same
    teaches nothing: its advantages are 0. Shao et al. (2024), section 4.1.2. Equation (preference_losses.5).

    >>> group_advantages(np.array([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])).round(3)
    array([[ 1., -1., -1.,  1.],
           [ 0.,  0.,  0.,  0.]])
    """
    mean, spread = rewards.mean(axis=-1, keepdims=True), rewards.std(axis=-1, keepdims=True)
    return (rewards - mean) / (spread + epsilon)


def clipped_gain(ratio: Array, advantage: Array, clip: float) -> Array:
    r"""$\min(\rho A,\ \mathrm{clip}(\rho, 1-\epsilon, 1+\epsilon)\,A)$: no gain from moving further than the clip.

    Schulman et al. (2017), equation 7. Equation (preference_losses.6).

    >>> clipped_gain(np.array([1.5, 1.5, 0.5]), np.array([1.0, -1.0, -1.0]), clip=0.2)
    array([ 1.2, -1.5, -0.8])
    """
    return np.minimum(ratio * advantage, np.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)


def kl_estimate(log_probs: Array, reference: Array) -> Array:
    r"""$\frac{\pi_{\mathrm{ref}}}{\pi} - \log \frac{\pi_{\mathrm{ref}}}{\pi} - 1 \ge 0$, whose mean under $\pi$ is
    $\mathrm{KL}(\pi \Vert \pi_{\mathrm{ref}})$. Shao et al. (2024), equation 4. Equation (preference_losses.7).

    >>> kl_estimate(np.log([0.5, 0.25]), np.log([0.5, 0.5])).round(4)  # 0, and 2 - log 2 - 1
    array([0.    , 0.3069])
    """
    difference = reference - log_probs
    return np.expm1(difference) - difference


def grpo_loss(
    log_probs: Array, old: Array, reference: Array, advantages: Array, counted: Mask, clip: float, beta: float
) -> float:
    r"""$-\frac1G \sum_i \frac{1}{|o_i|} \sum_t [\min(\rho A, \mathrm{clip}(\rho) A) - \beta\,\mathrm{KL}]_{i,t}$.

    ``log_probs``, ``old`` and ``reference`` (G, T) are those of the sampled tokens under the policy, the policy that
    drew them and the reference; ``advantages`` (G,) hold for every token of an answer; ``counted`` (G, T) marks its
    tokens; $\rho = \exp(\log\pi - \log\pi_{\mathrm{old}})$. Shao et al. (2024), equation 3.
    Equation (preference_losses.8).

    >>> p = np.log([[0.5, 0.6], [0.5, 0.5]])
    >>> old = np.log([[0.5, 0.4], [0.5, 0.5]])
    >>> counted = np.array([[True, True], [True, False]])
    >>> round(grpo_loss(p, old, p, np.array([1.0, -1.0]), counted, clip=0.2, beta=0.1), 4)  # -((1 + 1.2) / 2 - 1) / 2
    -0.05
    """
    gain = clipped_gain(np.exp(log_probs - old), advantages[:, None], clip) - beta * kl_estimate(log_probs, reference)
    return float(-((gain * counted).sum(axis=-1) / counted.sum(axis=-1)).mean())


def grpo_loss_gradient(
    log_probs: Array, old: Array, reference: Array, advantages: Array, counted: Mask, clip: float, beta: float
) -> Array:
    r"""$-\frac{m_{i,t}}{G |o_i|} [\rho A \cdot 1(\text{not clipped}) - \beta (1 - \pi_{\mathrm{ref}}/\pi)]$; (G, T).

    Clipped: the clipped product is the smaller of the two, so the gain is flat there. Equation (preference_losses.9).

    >>> p, old = np.log([[0.5, 0.6]]), np.log([[0.5, 0.4]])
    >>> grpo_loss_gradient(p, old, p, np.array([1.0]), np.array([[True, True]]), clip=0.2, beta=0.1)
    array([[-0.5,  0. ]])
    """
    ratio, advantage = np.exp(log_probs - old), advantages[:, None]
    free = ratio * advantage <= np.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage
    slope = beta * (1.0 - np.exp(reference - log_probs)) - ratio * advantage * free
    return slope * counted / counted.sum(axis=-1, keepdims=True) / len(log_probs)
