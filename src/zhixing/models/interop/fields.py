"""Reading a foreign ``config.json``: wrong types and unsupported values are refused by the field's name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from zhixing.config import Settings
from zhixing.errors import ModelFolderError
from zhixing.language import tr

SettingsT = TypeVar("SettingsT", bound=Settings)
LARGEST = 1 << 28
"""No size of a model is above; far above, the product of two fits into no number of a machine."""
DEEPEST = 1 << 10
"""No stack of layers is deeper; each costs time before its weights can be missed."""
_TABLE = 1 << 27
"""Numbers in a table of positions, half a gigabyte: a million places of a head 128 wide."""
_BEYOND = 1e300
"""No number of a model is; Python's whole numbers go on, its others do not. NaN is not below."""

HARMLESS = (
    "model_type", "architectures", "transformers_version", "torch_dtype", "dtype", "name_or_path", "use_cache",
    "initializer_range", "pretraining_tp", "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop",
    "hidden_dropout", "classifier_dropout", "gradient_checkpointing", "is_decoder", "chunk_size_feed_forward",
    "use_bfloat16", "torchscript", "tf_legacy_loss", "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id",
    "sep_token_id", "cls_token_id", "decoder_start_token_id", "tokenizer_class", "return_dict", "use_return_dict",
    "output_attentions", "output_hidden_states", "output_scores", "return_dict_in_generate", "id2label", "label2id",
    "num_labels", "problem_type", "finetuning_task", "task_specific_params", "do_sample", "temperature", "top_k",
    "top_p", "typical_p", "max_length", "min_length", "max_new_tokens", "num_beams", "num_beam_groups",
    "num_return_sequences", "repetition_penalty", "length_penalty", "diversity_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "early_stopping", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens",
    "forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty", "remove_invalid_values",
)  # fmt: skip
"""Fields of another library's ``config.json`` that change no logit of a decoder in evaluation: names, types in the
file, special ids, labels, dropout, how text is generated."""


class ConfigReader:
    """Typed access to a ``config.json``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def value(self, name: str) -> Any:
        """Return a field as it is; None where it is absent."""
        return self._config.get(name)

    def refuse_others(self, honoured: Collection[str]) -> None:
        """Refuse the model if a field that is neither honoured nor known as harmless says something.

        Nothing is said by a field that is empty or false, by one that begins with ``_``, and by another program's
        version.
        """
        for name, value in self._config.items():
            known = name in honoured or name in HARMLESS or name.startswith("_") or name.endswith("_version")
            if not known and value not in (None, False, "", [], {}):
                raise ModelFolderError(
                    tr(
                        f"config.json: {name} = {value!r:.80} is not known here and may change what the model "
                        "computes; if it does not, remove the line",
                        f"config.json：不认识 {name} = {value!r:.80}，它可能改变模型的计算；若与计算无关，请删去该行",
                    )
                )

    def require(self, name: str, allowed: Sequence[object], default: object) -> None:
        """Refuse the model unless field ``name`` has one of the ``allowed`` values."""
        value = self._config.get(name, default)
        if value not in allowed:
            choices = ", ".join(map(repr, allowed))
            raise ModelFolderError(
                tr(
                    f"config.json: {name} = {value!r:.80} is not supported (only {choices})",
                    f"config.json：不支持 {name} = {value!r:.80}（仅支持 {choices}）",
                )
            )

    def require_each(self, name: str, allowed: Sequence[object]) -> None:
        """Refuse the model unless field ``name`` is absent or a list of ``allowed`` values."""
        values = self._config.get(name)
        for value in [] if values is None else values if isinstance(values, list) else [values]:
            ConfigReader({name: value}).require(name, allowed, default=None)

    def integer(self, name: str, default: int | None = None, most: int = LARGEST) -> int:
        """Return an integer field; its size, sign aside, is ``most`` at most."""
        value = self._config.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelFolderError(
                tr(
                    f"config.json: {name} should be a whole number, not {value!r:.80}",
                    f"config.json：{name} 应为整数，而不是 {value!r:.80}",
                )
            )
        if abs(value) > most:
            raise ModelFolderError(
                tr(
                    f"config.json: {name} = {value!r:.80} is larger than that of any model",
                    f"config.json：{name} = {value!r:.80} 超过任何模型的取值",
                )
            )
        return value

    def optional_integer(self, name: str, most: int = LARGEST) -> int | None:
        """Return an integer field, or None where it is absent or null."""
        return None if self._config.get(name) is None else self.integer(name, most=most)

    def number(self, name: str, default: float | None = None) -> float:
        """Return a numeric field."""
        value = self._config.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _BEYOND:
            raise ModelFolderError(
                tr(
                    f"config.json: {name} should be a number, not {value!r:.80}",
                    f"config.json：{name} 应为数值，而不是 {value!r:.80}",
                )
            )
        return float(value)

    def refuse_long(self, name: str, places: int, width: int) -> None:
        """Refuse a longest text whose table of positions, which no file holds, would fill the memory."""
        if places * width > _TABLE:
            raise ModelFolderError(
                tr(
                    f"config.json: {name} = {self._config.get(name)!r:.80} would need {4e-9 * places * width:,.1f} GB "
                    f"for a table of positions; lower it to {_TABLE // width:,} or less",
                    f"config.json：{name} = {self._config.get(name)!r:.80} 的位置表需要 "
                    f"{4e-9 * places * width:,.1f} GB；请降到 {_TABLE // width:,} 以下",
                )
            )

    def build(self, kind: type[SettingsT], **fields: Any) -> SettingsT:
        """Return the settings, or refuse the folder with what does not fit."""
        try:
            return kind(**fields)
        except ValidationError as error:
            what = tr("; ", "；").join(_explained(problem) for problem in error.errors())
            raise ModelFolderError(tr(f"config.json: {what}", f"config.json：{what}")) from None


_MUST_BE = {
    "greater_than": ("must be more than {gt}", "须大于 {gt}"),
    "greater_than_equal": ("must be at least {ge}", "须不小于 {ge}"),
    "less_than": ("must be less than {lt}", "须小于 {lt}"),
    "less_than_equal": ("must be at most {le}", "须不大于 {le}"),
    "finite_number": ("must be a finite number", "须为有限的数"),
}
"""pydantic's kind of error → what a value must be."""


def _explained(problem: Any) -> str:
    """Return what is wrong with one setting, in the reader's language."""
    name, value = ".".join(map(str, problem["loc"])), f"{problem.get('input')!r:.80}"
    if problem["type"] in _MUST_BE:
        message = tr(*_MUST_BE[problem["type"]]).format_map(problem.get("ctx", {}))
        return tr(f"{name}: {value} {message}", f"{name}：{value} {message}")
    message = problem["msg"].removeprefix("Value error, ")
    return tr(f"{name}: {value}: {message}", f"{name}：{value}：{message}") if name else str(message)
