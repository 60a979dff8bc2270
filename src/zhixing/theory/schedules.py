r"""Learning-rate schedules: the factor on the peak rate as a function of progress p, the done share of the
run, in [0, 1].

Each begins with a linear warm-up over the share ``warmup``; ``floor`` is the factor at the end.
"""

from __future__ import annotations

import math


def warmup_factor(progress: float, warmup: float) -> float:
    r"""$\min(1, p/w)$; 1 where there is no warm-up. Goyal et al. (2017), section 2.2. Equation (schedules.1).

    >>> warmup_factor(0.05, warmup=0.1), warmup_factor(0.5, warmup=0.1), warmup_factor(0.0, warmup=0.0)
    (0.5, 1.0, 1.0)
    """
    return min(1.0, progress / warmup) if warmup > 0 else 1.0


def constant(progress: float, warmup: float = 0.0) -> float:
    r"""The warm-up, then 1. Equation (schedules.2).

    >>> constant(0.05, warmup=0.1), constant(1.0, warmup=0.1)
    (0.5, 1.0)
    """
    return warmup_factor(progress, warmup)


def linear(progress: float, warmup: float = 0.0, floor: float = 0.0) -> float:
    r"""After the warm-up $1 - (1-f)\,q$ with $q = (p-w)/(1-w)$. Devlin et al. (2019), appendix A.2.
    Equation (schedules.3).

    >>> linear(0.125, warmup=0.25), linear(0.625, warmup=0.25), linear(1.0, warmup=0.25)
    (0.5, 0.5, 0.0)
    """
    if progress < warmup:
        return warmup_factor(progress, warmup)
    return 1.0 - (1.0 - floor) * (progress - warmup) / (1.0 - warmup)


def cosine(progress: float, warmup: float = 0.0, floor: float = 0.0) -> float:
    r"""After the warm-up $f + \frac{1-f}{2}(1 + \cos \pi q)$, $q = (p-w)/(1-w)$. Loshchilov and Hutter
    (2017), equation 5. Equation (schedules.4).

    >>> cosine(0.0), round(cosine(0.25), 4), round(cosine(0.5), 4), cosine(1.0)
    (1.0, 0.8536, 0.5, 0.0)
    """
    if progress < warmup:
        return warmup_factor(progress, warmup)
    rest = (progress - warmup) / (1.0 - warmup)
    return floor + 0.5 * (1.0 - floor) * (1.0 + math.cos(math.pi * rest))


def warmup_stable_decay(progress: float, warmup: float, decay: float, floor: float = 0.0) -> float:
    r"""The warm-up, then 1, and over the last share d of the run linearly down to f:
    $f + (1-f)\min(1, (1-p)/d)$.

    Hu et al. (2024), "MiniCPM", section 4; the linear decay is Hägele et al. (2024), section 3. Equation (schedules.5).

    >>> [warmup_stable_decay(p, warmup=0.125, decay=0.25) for p in (0.0625, 0.5, 0.875, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return warmup_factor(progress, warmup)
    left = min(1.0, (1.0 - progress) / decay) if decay > 0 else 1.0
    return floor + (1.0 - floor) * left
