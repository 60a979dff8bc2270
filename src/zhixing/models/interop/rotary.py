"""Rotary positions in a ``config.json``: their base and how they are stretched, as transformers 5 or 4 writes them.

Version 5 keeps both in ``rope_parameters``, version 4 in ``rope_theta`` and ``rope_scaling``; what is written here both
can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.models.interop.fields import ConfigReader
from zhixing.models.rotary_scaling import LinearScaling, Llama3Scaling, NoScaling, RotaryScaling

HONOURED = (
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "partial_rotary_factor",
    "original_max_position_embeddings",
)
KINDS = ("default", "linear", "llama3")
FIELDS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
"""Kind of ``rope_type`` → the fields it has; any other must be absent."""


def rotary_fields(theta: float, scaling: RotaryScaling) -> dict[str, Any]:
    """Return the fields of ``config.json``."""
    stretch: dict[str, Any] = {}
    if isinstance(scaling, LinearScaling):
        stretch = {"rope_type": "linear", "factor": scaling.factor}
    if isinstance(scaling, Llama3Scaling):
        stretch = {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency_factor,
            "high_freq_factor": scaling.high_frequency_factor,
            "original_max_position_embeddings": scaling.original_context,
        }
    older = {"rope_scaling": stretch} if stretch else {}
    parameters = {"rope_type": "default", "rope_theta": theta} | stretch
    return {"rope_theta": theta, "rope_parameters": parameters, **older}


def read_rotary(config: Mapping[str, Any], context: int) -> tuple[float, RotaryScaling]:
    """Return base and stretch of a ``config.json``.

    Args:
        config: the file.
        context: its longest text, where the stretch names none.

    Raises:
        ModelFolderError: a field is of the wrong type, or asks for another stretch.
    """
    read = ConfigReader(config)
    read.require("partial_rotary_factor", (None, 1, 1.0), default=None)
    found: list[RotaryScaling] = []
    bases = [10000.0, config.get("rope_theta")]
    for name in ("rope_parameters", "rope_scaling"):
        parameters = config.get(name) or {}
        if not isinstance(parameters, Mapping):
            parameters = {"rope_type": parameters}
        if parameters:
            found.append(_read_stretch(name, parameters, config, context))
        bases.append(parameters.get("rope_theta"))
    if len(found) == 2 and found[0] != found[1]:  # whom to believe?
        read.require("rope_scaling", (config.get("rope_parameters"),), default=None)
    scaling = found[0] if found else NoScaling()
    if not isinstance(scaling, Llama3Scaling):
        read.require("original_max_position_embeddings", (None, context), default=None)
    theta = ConfigReader({"rope_theta": [base for base in bases if base is not None][-1]}).number("rope_theta")
    return theta, scaling


def _read_stretch(name: str, parameters: Mapping[str, Any], config: Mapping[str, Any], context: int) -> RotaryScaling:
    """Return the stretch that one field of ``config.json`` describes."""
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    ConfigReader({f"{name}.rope_type": kind}).require(f"{name}.rope_type", KINDS, "default")
    known = FIELDS[kind]
    for field, value in parameters.items():
        if field == "partial_rotary_factor":
            ConfigReader({f"{name}.{field}": value}).require(f"{name}.{field}", (None, 1, 1.0), None)
        elif field not in (*known, "rope_type", "type", "rope_theta"):
            ConfigReader({f"{name}.{field}": value}).require(f"{name}.{field}", (None,), None)
    read = ConfigReader({f"{name}.{field}": value for field, value in parameters.items()})
    if kind == "linear":
        return read.build(LinearScaling, factor=read.number(f"{name}.factor"))
    if kind == "llama3":
        original = config.get("original_max_position_embeddings")  # transformers prefers it to the one inside
        inside = f"{name}.original_max_position_embeddings"
        whole = ConfigReader({inside: original if original is not None else parameters.get(known[3], context)})
        return read.build(
            Llama3Scaling,
            factor=read.number(f"{name}.factor"),
            low_frequency_factor=read.number(f"{name}.low_freq_factor"),
            high_frequency_factor=read.number(f"{name}.high_freq_factor"),
            original_context=whole.integer(inside),
        )
    return NoScaling()
