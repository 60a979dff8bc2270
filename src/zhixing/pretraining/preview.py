"""The batches that training would read, looked at before it: the same windows, the same questions, the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zhixing.errors import ConfigError, InputError
from zhixing.language import tr
from zhixing.models.decoders import DecoderSettings
from zhixing.pretraining.neural import sized, training_windows
from zhixing.pretraining.objectives import choose, resolve
from zhixing.pretraining.prepare import Ids, prepare_ids
from zhixing.pretraining.recipe import COUNTED, Recipe
from zhixing.pretraining.run_folder import ids_folder_of
from zhixing.pretraining.shown import ShownPart
from zhixing.pretraining.visibility import reach, within
from zhixing.tokenizers.protocol import Tokenizer

LONGEST = 1 << 14
"""Tokens of a row: who sees whom is a table of so many lines and columns, a quarter of a gigabyte."""
MOST = 1 << 24
"""Tokens of a batch."""


@dataclass(frozen=True)
class Preview:
    """Rows of one batch of a recipe.

    Attributes:
        name: of the recipe.
        family: of its model.
        objective: what the model learns by, ``auto`` replaced by its own.
        number: of the batch, from 0.
        first: position of the batch's first row in the global order.
        size: rows in the batch; ``rows`` may hold fewer.
        reach: how many tokens the model sees at most; None: no limit within a row.
        rows: of each row its parts.
        tokenizer: whose ids they are.
    """

    name: str
    family: str
    objective: str
    number: int
    first: int
    size: int
    reach: int | None
    rows: tuple[tuple[ShownPart, ...], ...]
    tokenizer: Tokenizer


def preview(recipe: Recipe, ids: Ids, number: int = 0, rows: int | None = None) -> Preview:
    """Return batch ``number`` that a run of this recipe reads.

    Args:
        recipe: of a neural model.
        ids: what ``prepare_ids`` made for it.
        number: of the batch; the run's micro-batches are counted, from 0.
        rows: at most so many of the batch's rows; None: all.

    Raises:
        InputError: a family that reads no batches, or rows too long to be shown.
    """
    refuse_counted(recipe)
    settings = sized(recipe, ids.tokenizer.vocab_size)
    _refuse_large(settings.context_length, recipe.training.batch_windows)
    found = choose(recipe.objective, settings, ids.tokenizer, "cpu", recipe.seed, recipe.pairs_together)
    source = found.questions(training_windows(recipe, ids, settings))
    size = recipe.training.batch_windows
    batch = source.batch(number * size, size)
    shown = range(size if rows is None else min(rows, size))
    return Preview(
        recipe.name,
        settings.family,
        resolve(recipe.objective, settings.family).kind,
        number,
        number * size,
        size,
        reach(settings),
        tuple(tuple(_within_reach(part, settings) for part in source.shown(batch, row)) for row in shown),
        ids.tokenizer,
    )


def _refuse_large(places: int, windows: int) -> None:
    if places * windows > MOST:
        raise ConfigError(
            tr(
                f"training.batch_windows = {windows:,} of {places:,} tokens: a batch of at most {MOST:,} tokens can be "
                "shown; show a smaller one (--set training.batch_windows=…)",
                f"training.batch_windows = {windows:,}，每个 {places:,} 个词元：至多 {MOST:,} 个词元的批次才能显示；"
                "可查看较小的（--set training.batch_windows=…）",
            )
        )
    if places > LONGEST:
        raise ConfigError(
            tr(
                f"model.context_length = {places:,}: rows of at most {LONGEST:,} tokens can be shown; look at shorter "
                f"ones: --set model.context_length={LONGEST}",
                f"model.context_length = {places:,}：每行至多 {LONGEST:,} 个词元的批次才能显示；可查看较短的："
                f"--set model.context_length={LONGEST}",
            )
        )


def refuse_counted(recipe: Recipe) -> None:
    """Refuse a family that is counted in one go.

    Raises:
        InputError: it is one.
    """
    if isinstance(recipe.model, COUNTED):
        family = recipe.model.family
        raise InputError(
            tr(
                f"a model of the family {family} reads the whole text in one go, not in batches; its ids can be shown: "
                "zhixing data prepare, then zhixing data show FOLDER --tokenizer DIR",
                f"{family} 类模型一次读完全部文本，没有批次；可查看其编号：先 zhixing data prepare，"
                "再 zhixing data show 文件夹 --tokenizer 文件夹",
            )
        )


def ids_of_run(source: Path) -> Path | None:
    """Return where a run in ``source`` has its ids; None: it is no folder of a run, or has none yet."""
    folder = ids_folder_of(source)
    return folder if (folder / "shards").is_dir() else None


@contextmanager
def ids_of(recipe: Recipe, folder: Path | None) -> Iterator[Ids]:
    """Give tokenizer and shards of a recipe, as ``train --ids`` makes or finds them in ``folder``; None: for now only.

    Raises:
        DataError: the text cannot be read, or ``folder`` holds ids of other text or settings.
    """
    if folder is not None:
        yield prepare_ids(recipe, folder)
        return
    with TemporaryDirectory(prefix="zhixing-show-") as scratch:
        yield prepare_ids(recipe, Path(scratch))


def as_json(shown: Preview) -> dict[str, Any]:
    """Return a preview as plain values; ``visible`` and ``sees_source`` are rows of 0 and 1."""
    return {
        "recipe": shown.name,
        "family": shown.family,
        "objective": shown.objective,
        "batch": shown.number,
        "first_position": shown.first,
        "batch_rows": shown.size,
        "reach": shown.reach,
        "rows": [{"parts": [_part_as_json(part, shown.tokenizer) for part in row]} for row in shown.rows],
    }


def piece(tokenizer: Tokenizer, token_id: int) -> str:
    """Return how one token is written: a line break ``⏎``, a special token by its name, the separator ``⏹``."""
    if token_id == tokenizer.separator_id:
        return "⏹"
    if token_id in tokenizer.special_ids:
        return next((name for name, number in tokenizer.special_tokens.items() if number == token_id), "⏹")
    if token_id >= tokenizer.vocab_size:
        return f"<{token_id}>"
    text = tokenizer.token_bytes(token_id).decode("utf-8", "backslashreplace")
    return "".join(_visible_character(character) for character in text)


def places_from(words: str) -> slice:
    """Return the places that ``FROM:TO`` names, TO not included.

    Raises:
        ConfigError: it names none.
    """
    first, colon, last = words.partition(":")
    numbers = [first or "0", last]
    # No row has so many places, and Python converts no endless digits.
    if colon and all(number.isdecimal() and len(number) < 20 for number in numbers):
        start, stop = map(int, numbers)
        if start < stop:
            return slice(start, stop)
    raise ConfigError(
        tr(f"--places {words:.80}: write FROM:TO, such as 0:32", f"--places {words:.80}：应写作 起:止，例如 0:32")
    )


def _within_reach(part: ShownPart, settings: DecoderSettings) -> ShownPart:
    return replace(part, visible=part.visible & within(len(part.ids), reach(settings)))


def _part_as_json(part: ShownPart, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "name": part.name,
        "ids": part.ids.tolist(),
        "tokens": [piece(tokenizer, int(token)) for token in part.ids],
        "targets": part.targets.tolist(),
        "target_tokens": [None if token < 0 else piece(tokenizer, int(token)) for token in part.targets],
        "weights": [round(float(weight), 6) for weight in part.weights],
        "positions": part.positions.tolist(),
        "documents": part.documents.tolist(),
        "visible": part.visible.astype(int).tolist(),
        "sees_source": None if part.sees_source is None else part.sees_source.astype(int).tolist(),
    }


def _visible_character(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character == " ":
        return "␣"
    if character == "\t":
        return "⇥"
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
