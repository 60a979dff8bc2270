"""``zhixing.pipeline("text2text-generation", model=…)``: an encoder-decoder writes a target for each source.

Arguments and results have the names and shapes of transformers' pipeline of the same task. What differs: a source that
is too long is an error instead of being cut, and an unknown argument is an error that names the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from zhixing.errors import ConfigError, InputError
from zhixing.generation.beam import beam_search
from zhixing.generation.generate import BATCH_SIZE, generate
from zhixing.generation.pipeline import TextGenerationPipeline
from zhixing.generation.settings import GenerationSettings
from zhixing.language import tr
from zhixing.models.encoder_decoder import as_read
from zhixing.models.translator import Translator
from zhixing.tokenizers.protocol import Tokenizer

if TYPE_CHECKING:
    from zhixing.models.load import Loaded

_CONTINUING = ("return_full_text", "max_length")
"""Options of the continuation of a prompt, which say nothing of a target."""


class Text2TextPipeline(TextGenerationPipeline):
    """Writes targets. Call it with one source or a list of sources."""

    task = "text2text-generation"

    def __init__(self, module: nn.Module, tokenizer: Tokenizer, settings: GenerationSettings | None = None) -> None:
        self.translator = Translator(module, tokenizer.separator_id)
        super().__init__(self.translator, tokenizer, settings)

    def __call__(self, prompts: str | Sequence[str], **options: Any) -> list[Any]:
        """Return ``[{"generated_text": …}, …]``, one for each target; for a list of sources, a list of those.

        Options: any generation setting (``max_new_tokens``, by default the model's ``target_length``; ``temperature``,
        ``seed``, …), ``num_return_sequences``, ``do_sample``, ``batch_size``, and ``num_beams``: above 1 the best
        targets of a beam search.

        Raises:
            ConfigError: an unknown option, or a value that does not fit.
            ContextLengthError: a source is longer than the model reads.
            InputError: a source is no text.
        """
        if unfit := next((name for name in _CONTINUING if name in options), None):
            raise ConfigError(
                tr(f"{unfit} is for the continuation of a prompt; leave it out", f"{unfit} 用于续写；请去掉")
            )
        beams, batch_size = options.pop("num_beams", 1), options.pop("batch_size", BATCH_SIZE)
        if options.get("max_new_tokens") is None:
            options["max_new_tokens"] = self.translator.target_length
        settings = self._settings({"do_sample": False, **options} if beams > 1 else options, None)
        sources = [self.encode(text) for text in ([prompts] if isinstance(prompts, str) else prompts)]
        if beams > 1:
            written = beam_search(self.translator, self.tokenizer, sources, settings, beams=beams)
        else:
            written = generate(self.translator, self.tokenizer, sources, settings, batch_size=batch_size)
        results: list[list[dict[str, str]]] = [[] for _ in sources]
        for one in written:
            results[one.prompt_index].append({"generated_text": one.text})
        return results[0] if isinstance(prompts, str) else results

    def encode(self, source: str) -> tuple[int, ...]:
        """Return the ids of a source as the model reads it.

        Raises:
            InputError: it is no text.
        """
        if not isinstance(source, str):
            kind = type(source).__name__
            raise InputError(tr(f"a source is {kind}, not text", f"源是 {kind}，不是文本"))
        return as_read(self.translator.module.settings, self.tokenizer.separator_id, self.tokenizer.encode(source))


def answering(loaded: Loaded, sources: Sequence[str]) -> tuple[Loaded, list[tuple[int, ...]], int]:
    """Return an encoder-decoder as the model of answers, sources as the prompts it reads, and the longest target."""
    found: Any = loaded.model
    write = Text2TextPipeline(found.module, loaded.tokenizer)
    given = [write.encode(source) for source in sources]
    return replace(loaded, model=write.translator), given, write.translator.target_length
