"""``zhixing.pipeline("text-generation", model=…)``: one line from a model folder to text.

Other tasks: ``"fill-mask"`` in ``generation.fill_mask``; ``"sentence-embedding"`` in ``models.sentence_embedding``.

Arguments and results have the names and shapes of transformers' pipeline of the same task. What differs:
every text is read after the separator, a prompt that is too long is an error instead of being cut, and an
unknown argument is an error that names the nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from zhixing.errors import ConfigError, InputError, nearest
from zhixing.generation.generate import BATCH_SIZE, generate
from zhixing.generation.settings import GenerationSettings, load_generation_config, make_settings
from zhixing.language import tr
from zhixing.models.protocol import LanguageModel
from zhixing.tokenizers.protocol import Tokenizer

_ALIASES = {"num_return_sequences": "n", "stop_strings": "stop", "eos_token_id": "stop_ids"}
_OWN = ("max_length", "do_sample", "return_full_text", "batch_size")


class TextGenerationPipeline:
    """Continues texts. Call it with one prompt or a list of prompts."""

    task = "text-generation"

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, settings: GenerationSettings | None = None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.settings = settings or GenerationSettings()

    def __call__(self, prompts: str | Sequence[str], **options: Any) -> list[Any]:
        """Return ``[{"generated_text": …}, …]``, one for each text; for a list of prompts, a list of those.

        Options: any generation setting (``max_new_tokens``, ``temperature``, ``top_k``, ``seed``, …) and
        ``num_return_sequences``, ``max_length`` (prompt and new tokens together), ``do_sample`` (False:
        greedy), ``return_full_text`` (default True: the prompt included), ``batch_size``.

        Raises:
            ConfigError: an unknown option, or a value that does not fit.
            ContextLengthError: a prompt is longer than the model's context.
        """
        texts = [prompts] if isinstance(prompts, str) else _checked(prompts)
        full = options.pop("return_full_text", True)
        batch_size = options.pop("batch_size", BATCH_SIZE)
        max_length = options.pop("max_length", None)
        settings = self._settings(options, max_length)
        each = [self._limited(settings, text, max_length) for text in texts]
        written = generate(self.model, self.tokenizer, texts, each, batch_size=batch_size)
        results: list[list[dict[str, str]]] = [[] for _ in texts]
        for one in written:
            prefix = texts[one.prompt_index] if full else ""
            results[one.prompt_index].append({"generated_text": prefix + one.text})
        return results[0] if isinstance(prompts, str) else results

    def _settings(self, options: Mapping[str, Any], max_length: int | None) -> GenerationSettings:
        known = [*GenerationSettings.model_fields, *_ALIASES, *_OWN]
        for name in options:
            if name not in known:
                hint = nearest(name, known)
                raise ConfigError(tr(f"unknown option '{name}'; {hint}", f"未知选项 '{name}'；{hint}"))
        if max_length is not None and "max_new_tokens" in options:
            raise ConfigError(
                tr("give max_length or max_new_tokens, not both", "max_length 与 max_new_tokens 只能给出一个")
            )
        values = {_ALIASES.get(name, name): value for name, value in options.items() if name != "do_sample"}
        if options.get("do_sample") is False:
            values["temperature"] = 0.0
        settings = make_settings(values, self.settings)
        if options.get("do_sample") and settings.greedy:
            if "temperature" in values:
                raise ConfigError(tr("do_sample=True needs a temperature above 0", "do_sample=True 需要大于 0 的温度"))
            settings = settings.replace(temperature=1.0)
        return settings

    def _limited(self, settings: GenerationSettings, text: str, max_length: int | None) -> GenerationSettings:
        if max_length is None:
            return settings
        tokens = len(self.tokenizer.encode(text))
        if tokens >= max_length:
            raise ConfigError(
                tr(
                    f"the prompt has {tokens} tokens and max_length is {max_length}: no room; raise it",
                    f"提示有 {tokens} 个词元，而 max_length 为 {max_length}：无法生成；请调大",
                )
            )
        return settings.replace(max_new_tokens=max_length - tokens)


def pipeline(task: str, model: Any, tokenizer: Tokenizer | None = None) -> Any:
    """Return a callable for a task.

    Args:
        task: ``"text-generation"``, ``"text2text-generation"``, ``"fill-mask"`` or ``"sentence-embedding"``.
        model: a model folder's path, what ``zhixing.load`` returned, or a ``LanguageModel``.
        tokenizer: needed only with a bare ``LanguageModel``.

    Raises:
        ConfigError: an unknown task; the nearest is named.
        InputError: a bare model without its tokenizer.
    """
    if task not in _TASKS:
        hint = nearest(task, _TASKS)
        raise ConfigError(tr(f"unknown task '{task}'; {hint}", f"未知任务 '{task}'；{hint}"))
    return _TASKS[task](model, tokenizer)


def _text_generation(model: Any, tokenizer: Tokenizer | None) -> TextGenerationPipeline:
    settings = None
    if isinstance(model, (str, Path)):
        # Imported here: only this path needs the neural families, and so torch.
        from zhixing.models.load import load

        model = load(model)
        settings = load_generation_config(model.path)
    tokenizer = tokenizer or getattr(model, "tokenizer", None)
    model = getattr(model, "model", model) if not isinstance(model, LanguageModel) else model
    if tokenizer is None:
        raise InputError(tr("pass tokenizer= with a bare model", "直接传入模型时请同时给出 tokenizer="))
    return TextGenerationPipeline(cast(LanguageModel, model), tokenizer, settings)


def _text2text_generation(model: Any, tokenizer: Tokenizer | None) -> Any:
    # Imported here: only this task needs torch before a model is opened.
    from zhixing.generation.text2text import Text2TextPipeline
    from zhixing.models.encoder_decoder import EncoderDecoderModel

    settings = None
    if isinstance(model, (str, Path)):
        from zhixing.models.load import load

        model = load(model)
        settings = load_generation_config(model.path)
    tokenizer = tokenizer or getattr(model, "tokenizer", None)
    model = getattr(model, "model", model)
    if not isinstance(model, EncoderDecoderModel):
        raise InputError(
            tr(
                f"text2text-generation needs an encoder-decoder, such as t5; this one is of the family {model.family}",
                f"text2text-generation 需要编码器–解码器模型，例如 t5；此模型属于 {model.family} 族",
            )
        )
    if tokenizer is None:
        raise InputError(tr("pass tokenizer= with a bare model", "直接传入模型时请同时给出 tokenizer="))
    return Text2TextPipeline(model.module, tokenizer, settings)


def _fill_mask(model: Any, tokenizer: Tokenizer | None) -> Any:
    # Imported here: only this task needs torch before a model is opened.
    from zhixing.generation.fill_mask import FillMaskPipeline
    from zhixing.models.encoder import EncoderModel

    if isinstance(model, (str, Path)):
        from zhixing.models.load import load

        model = load(model)
    tokenizer = tokenizer or getattr(model, "tokenizer", None)
    model = getattr(model, "model", model)
    if not isinstance(model, EncoderModel):
        raise InputError(
            tr(
                f"fill-mask needs a masked model, such as bert; this one is of the family {model.family}",
                f"fill-mask 需要掩码语言模型，例如 bert；此模型属于 {model.family} 族",
            )
        )
    if tokenizer is None:
        raise InputError(tr("pass tokenizer= with a bare model", "直接传入模型时请同时给出 tokenizer="))
    return FillMaskPipeline(model, tokenizer)


def _sentence_embedding(model: Any, tokenizer: Tokenizer | None) -> Any:
    # Imported here: only this task needs torch before a model is opened.
    from zhixing.models.sentence_embedding import open_sentence_encoder

    return open_sentence_encoder(model, tokenizer)


_TASKS: dict[str, Callable[[Any, Tokenizer | None], Any]] = {
    "text-generation": _text_generation,
    "text2text-generation": _text2text_generation,
    "fill-mask": _fill_mask,
    "sentence-embedding": _sentence_embedding,
}


def _checked(prompts: Sequence[Any]) -> list[str]:
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise InputError(
                tr(
                    f"prompt {index}: {type(prompt).__name__} is not text; to chat: zhixing.generation.chat",
                    f"第 {index} 个提示是 {type(prompt).__name__} 而非文本；对话请用 zhixing.generation.chat",
                )
            )
    return list(prompts)
