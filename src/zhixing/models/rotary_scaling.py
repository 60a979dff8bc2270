"""How a decoder's rotary frequencies are slowed for texts longer than it was trained on: the choices of a recipe."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field, model_validator

from zhixing.config import Settings, setting
from zhixing.nn.positions import Stretch, stretched_by_wavelength, stretched_evenly

KIND = ("how rotary positions are slowed for longer texts", "旋转位置如何放慢以读更长的文本")


class NoScaling(Settings):
    """Rotary positions as they were trained."""

    kind: Literal["none"] = setting("none", *KIND)


class LinearScaling(Settings):
    """Positions interpolated: a text ``factor`` times as long turns no further (Chen et al. 2023)."""

    kind: Literal["linear"] = setting("linear", *KIND)
    factor: float = setting(2.0, "by which every frequency is divided", "各频率所除的倍数", ge=1)


class Llama3Scaling(Settings):
    """Only slow frequencies divided (Llama 3.1)."""

    kind: Literal["llama3"] = setting("llama3", *KIND)
    factor: float = setting(8.0, "by which slow frequencies are divided", "慢频率所除的倍数", ge=1)
    low_frequency_factor: float = setting(
        1.0,
        "turns in original_context below which a frequency is slow",
        "在 original_context 内转数低于此即为慢频率",
        gt=0,
    )
    high_frequency_factor: float = setting(
        4.0, "turns above which it is fast and stays", "转数高于此即为快频率，保持不变", gt=0
    )
    original_context: int = setting(8192, "context before the stretch", "拉伸之前的上下文长度", unit="tokens", ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Llama3Scaling:
        if self.low_frequency_factor >= self.high_frequency_factor:
            raise ValueError("high_frequency_factor must be more than low_frequency_factor")
        return self


RotaryScaling = Annotated[NoScaling | LinearScaling | Llama3Scaling, Field(discriminator="kind")]


def stretch(scaling: RotaryScaling) -> Stretch | None:
    """Return what turns the frequencies into slower ones; None: they stay."""
    if isinstance(scaling, LinearScaling):
        return partial(stretched_evenly, factor=scaling.factor)
    if isinstance(scaling, Llama3Scaling):
        return partial(
            stretched_by_wavelength,
            factor=scaling.factor,
            low=scaling.low_frequency_factor,
            high=scaling.high_frequency_factor,
            original_context=scaling.original_context,
        )
    return None
