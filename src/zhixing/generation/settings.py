"""What decides how text is written, and ``generation_config.json``, its file in a model folder.

Every number has bounds: these settings also arrive over the network.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from zhixing.config import Settings, setting
from zhixing.errors import ConfigError, ModelFolderError, nearest
from zhixing.language import tr

logger = logging.getLogger(__name__)

FILE_NAME = "generation_config.json"
MAX_TEXTS = 128
MAX_NEW_TOKENS = 1_000_000
MAX_TOKEN_ID = 2**31 - 1

TokenId = Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]
Bias = Annotated[float, Field(ge=-100.0, le=100.0)]
StopString = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


class GenerationSettings(Settings):
    """How text is written. The defaults draw from the model's own distribution, unchanged."""

    max_new_tokens: int | None = setting(
        128,
        "most tokens to write; null: until the context is full",
        "最多生成的词元数；null 表示直到上下文用满",
        unit="tokens",
        ge=0,
        le=MAX_NEW_TOKENS,
    )
    temperature: float = setting(
        1.0,
        "below 1 safer, above 1 bolder; 0: always the most probable token",
        "小于 1 更稳妥，大于 1 更大胆；0 表示总取概率最大的词元",
        ge=0.0,
        le=100.0,
        allow_inf_nan=False,
    )
    top_k: int = setting(
        0,
        "draw only from the k best tokens; 0: off",
        "只从最好的 k 个词元中抽取；0 表示不用",
        ge=0,
        le=MAX_TOKEN_ID,
    )
    top_p: float = setting(
        1.0,
        "draw only from the fewest best tokens whose probabilities reach this sum; 1: off",
        "只从概率之和达到此值的最少词元中抽取；1 表示不用",
        gt=0.0,
        le=1.0,
    )
    min_p: float = setting(
        0.0,
        "draw only tokens at least this fraction as probable as the best; 0: off",
        "只抽取概率不低于最佳词元此比例的词元；0 表示不用",
        ge=0.0,
        le=1.0,
    )
    repetition_penalty: float = setting(
        1.0,
        "above 1 makes tokens already in the text less likely; 1: off",
        "大于 1 时降低文中已有词元的概率；1 表示不用",
        gt=0.0,
        le=100.0,
    )
    presence_penalty: float = setting(
        0.0,
        "subtracted from the score of every token written before",
        "从每个已生成词元的分数中减去",
        ge=-2.0,
        le=2.0,
        unit="nats",
    )
    frequency_penalty: float = setting(
        0.0,
        "subtracted once for every time a token was written",
        "词元每生成一次就减去一次",
        ge=-2.0,
        le=2.0,
        unit="nats",
    )
    logit_bias: tuple[tuple[TokenId, Bias], ...] = setting(
        (),
        "pairs (token id, amount added to its score)",
        "(词元编号, 加到其分数上的数值) 对",
        max_length=1_024,
    )
    stop: tuple[StopString, ...] = setting(
        (), "strings that end the text; they are not shown", "结束文本的字符串；它们不会显示", max_length=16
    )
    stop_ids: tuple[TokenId, ...] = setting(
        (),
        "ids that end the text besides the separator, such as the end of a chat turn",
        "除分隔符外结束文本的词元编号，如对话轮的结束符",
        max_length=64,
    )
    stop_at_separator: bool = setting(True, "end at the end of the document", "在文档结束处停止（遇到分隔符）")
    seed: int | None = setting(
        None,
        "same seed, same prompt, same text; null: a new one is drawn and reported",
        "种子与提示相同则文本相同；null 表示新抽取一个并报告",
        ge=-(2**63),
        le=2**63 - 1,
    )
    n: int = setting(1, "texts for each prompt", "每个提示生成的文本数", ge=1, le=MAX_TEXTS)
    logprobs: int | None = setting(
        None,
        "report this many alternatives, with log-probabilities, for each token",
        "为每个词元报告此数目的候选及其对数概率",
        ge=0,
        le=20,
    )

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0.0


_HF_NAMES = {
    "max_new_tokens": "max_new_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "num_return_sequences": "n",
    "stop_strings": "stop",
    "eos_token_id": "stop_ids",
}
"""Name in ``generation_config.json`` → field. ``do_sample`` is ``temperature > 0``."""

_WITHOUT_EFFECT = {
    "transformers_version", "_from_model_config", "bos_token_id", "pad_token_id", "decoder_start_token_id",
    "use_cache", "cache_implementation", "max_length", "return_dict_in_generate", "output_scores",
    "output_logits", "output_attentions", "output_hidden_states", "do_sample",
}  # fmt: skip
_NEUTRAL: Mapping[str, Any] = {
    "num_beams": 1, "num_beam_groups": 1, "length_penalty": 1.0, "typical_p": 1.0, "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0, "encoder_no_repeat_ngram_size": 0, "diversity_penalty": 0.0,
    "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "guidance_scale": 1.0, "min_length": 0, "min_new_tokens": 0,
    "early_stopping": False,
}  # fmt: skip


def make_settings(values: Mapping[str, Any], base: GenerationSettings | None = None) -> GenerationSettings:
    """Return ``base`` (or the defaults) with some fields changed.

    Raises:
        ConfigError: an unknown field (the nearest is named) or a value that does not fit (its field is
        named).
    """
    known = GenerationSettings.model_fields
    for name in values:
        if name not in known:
            hint = nearest(name, known)
            raise ConfigError(tr(f"unknown generation setting '{name}'; {hint}", f"未知的生成设置 '{name}'；{hint}"))
    # A caller writes one stop string or a list of them as readily as a tuple.
    tidy = {name: _tuple(value) if name in ("stop", "stop_ids") else value for name, value in values.items()}
    try:
        return GenerationSettings.model_validate({**dict(base or GenerationSettings()), **tidy})
    except ValidationError as error:
        problem = error.errors()[0]
        field, value = ".".join(map(str, problem["loc"])), repr(problem.get("input"))[:80]
        raise ConfigError(
            tr(f"'{field}' = {value}: {problem['msg']}", f"'{field}' = {value}：{problem['msg']}")
        ) from None


def to_generation_config(settings: GenerationSettings, separator_id: int) -> dict[str, Any]:
    """Return the settings under Hugging Face's names; what it has no name for is left to the caller.

    Only what differs from the defaults is written, so that transformers sees no contradictory flags.
    """
    eos = [separator_id] * settings.stop_at_separator + [i for i in settings.stop_ids if i != separator_id]
    config: dict[str, Any] = {"bos_token_id": separator_id, "pad_token_id": separator_id}
    config["eos_token_id"] = eos[0] if len(eos) == 1 else eos
    config["do_sample"] = not settings.greedy
    config["max_new_tokens"] = settings.max_new_tokens
    if not settings.greedy:
        # top_k is always written: transformers takes 50 when it is absent.
        config |= {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
        if settings.min_p:
            config["min_p"] = settings.min_p
    if settings.repetition_penalty != 1.0:
        config["repetition_penalty"] = settings.repetition_penalty
    if settings.n != 1:
        config["num_return_sequences"] = settings.n
    if settings.stop:
        config["stop_strings"] = list(settings.stop)
    return {name: value for name, value in config.items() if value is not None and value != []}


def save_generation_config(settings: GenerationSettings, folder: Path, separator_id: int) -> Path:
    """Write ``generation_config.json`` into the folder."""
    path = folder / FILE_NAME
    text = json.dumps(to_generation_config(settings, separator_id), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def load_generation_config(folder: Path) -> GenerationSettings:
    """Read ``generation_config.json``; the defaults if the folder has none.

    An absent key keeps the default of this program, also where transformers would choose another
    (``do_sample``, ``top_k``). Keys that would change the text but are not supported are named in a
    warning.

    Raises:
        ModelFolderError: the file is not a JSON object, or a value is out of bounds.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return GenerationSettings()
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return from_generation_config(config, str(path))
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise ModelFolderError(tr(f"{path}: {error}", f"{path}：{error}")) from error


def from_generation_config(config: Mapping[str, Any], source: str) -> GenerationSettings:
    """Return the settings that a Hugging Face generation configuration asks for.

    Raises:
        ConfigError: not an object, or a value is out of bounds.
    """
    if not isinstance(config, dict):
        raise ConfigError(tr("not a JSON object", "不是 JSON 对象"))
    _warn_of_unsupported(config, source)
    values = {field: config[name] for name, field in _HF_NAMES.items() if config.get(name) is not None}
    if config.get("do_sample") is False:
        values["temperature"] = 0.0
    return make_settings(values)


def _warn_of_unsupported(config: Mapping[str, Any], source: str) -> None:
    others = {name: value for name, value in config.items() if name not in _HF_NAMES.keys() | _WITHOUT_EFFECT}
    active = sorted(name for name, value in others.items() if value is not None and value != _NEUTRAL.get(name))
    if active:
        names = ", ".join(active)
        logger.warning(
            tr(
                f"{source}: not supported, so without effect: {names}",
                f"{source}：不支持，因此不起作用：{names}",
            )
        )


def _tuple(value: Any) -> Any:
    if isinstance(value, (str, int)):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) else value
