"""Writing text: a list of prompts at once, or one prompt as a stream.

Any ``LanguageModel`` writes by this code, from an n-gram to a transformer. A later decoding strategy that
looks at several rows together (beam search) drives the same model calls with its own kind of
``SequenceState``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from zhixing.errors import ConfigError, ZhixingError
from zhixing.generation.batch import Batch, Emission
from zhixing.generation.sequence import FinishReason, Generation, Prompt, SequenceState, make_sequences
from zhixing.generation.settings import GenerationSettings
from zhixing.language import tr
from zhixing.models.protocol import LanguageModel
from zhixing.tokenizers.protocol import Tokenizer

BATCH_SIZE = 16


@dataclass(frozen=True)
class Event:
    """A piece of a streamed text; the last one has ``finish_reason`` and ``generation``, the whole."""

    text: str
    ids: tuple[int, ...]
    finish_reason: FinishReason | None = None
    generation: Generation | None = None


def generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    settings: GenerationSettings | Sequence[GenerationSettings] | None = None,
    *,
    batch_size: int = BATCH_SIZE,
) -> list[Generation]:
    """Continue every prompt; ``n`` texts each, in the order of the prompts.

    ``settings`` are for all prompts, or one for each.

    A string is read after the separator; a sequence of ids is read as it is. The same prompt and seed give
    the same text alone and in a batch; ``batch_size=1`` makes that independent even of the model's
    rounding. Where prompt and new tokens together exceed the context, the text ends at its end with
    ``finish_reason`` "length".

    Raises:
        ContextLengthError: a prompt alone exceeds the context.
        InputError: a prompt or a setting names an id that does not exist.
        ZhixingError: the model's probabilities are not finite.
    """
    if isinstance(prompts, str):
        raise ConfigError(tr("prompts must be a list: [prompt]", "prompts 必须是列表：[prompt]"))
    each = [settings or GenerationSettings()] * len(prompts) if not isinstance(settings, Sequence) else settings
    sequences = [
        sequence
        for index, (prompt, chosen) in enumerate(zip(prompts, each, strict=True))
        for sequence in make_sequences(prompt, model, tokenizer, chosen, index)
    ]
    _run(model, sequences, max(1, batch_size))
    return [sequence.result() for sequence in sequences]


def stream(
    model: LanguageModel, tokenizer: Tokenizer, prompt: Prompt, settings: GenerationSettings | None = None
) -> Iterator[Event]:
    """Continue one prompt, yielding whole characters, never the start of a stop string.

    The joined texts are the text of ``generate``. Errors are as there, and are raised before the first event.
    """
    settings = settings or GenerationSettings()
    if settings.n != 1:
        raise ConfigError(tr("a stream writes one text: n must be 1", "流式输出只生成一个文本：n 必须为 1"))
    (sequence,) = make_sequences(prompt, model, tokenizer, settings)
    return _events(model, sequence)


def _run(model: LanguageModel, sequences: Sequence[SequenceState], batch_size: int) -> None:
    """Write all sequences, at most ``batch_size`` at a time; a place that becomes free is taken at once."""
    batch, waiting = Batch(model), list(reversed(sequences))
    while waiting or batch.active:
        entering = [waiting.pop() for _ in range(min(batch_size - len(batch.active), len(waiting)))]
        # Rows that were active take their step before the new ones join with their first token.
        _raise_first(batch.step())
        _raise_first(batch.add(entering))


def _events(model: LanguageModel, sequence: SequenceState) -> Iterator[Event]:
    batch, sent = Batch(model), 0
    for text in _pieces(batch, sequence):
        news = tuple(sequence.ids[sent:])
        if sequence.finished:
            yield Event(text, news, sequence.finish_reason, sequence.result())
        elif text:
            yield Event(text, news)
            sent += len(news)


def _pieces(batch: Batch, sequence: SequenceState) -> Iterator[str]:
    if sequence.finished:
        yield ""
        return
    yield from _raise_first(batch.add([sequence]))
    while not sequence.finished:
        yield from _raise_first(batch.step())


def _raise_first(emissions: Iterable[Emission]) -> list[str]:
    """Return the texts; here, unlike in a server, one failed row fails the call."""
    texts: list[str] = []
    for _, shown in emissions:
        if isinstance(shown, ZhixingError):
            raise shown
        texts.append(shown)
    return texts
