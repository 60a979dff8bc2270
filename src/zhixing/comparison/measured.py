"""All that is measured of one finished model, kept as JSON so that a comparison started again does not measure anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zhixing.comparison.accuracy import Window, choose_windows, first_guesses
from zhixing.comparison.probe import Spent, spent_in_writing
from zhixing.comparison.settings import EvaluationSettings
from zhixing.errors import DataError
from zhixing.evaluation.heldout import HeldOutShards, tokens_known
from zhixing.evaluation.perplexity import Scores, score_documents
from zhixing.language import tr
from zhixing.model_folder import MANIFEST_NAME
from zhixing.model_folder.durable import replace_file
from zhixing.models.load import load
from zhixing.pretraining.prepare import Ids
from zhixing.pretraining.samples import draw_samples

ROWS, PROMPT, NEW = 8, 16, 64
"""Writing is timed on so many texts at once, beginnings of so many tokens, continued by so many."""


@dataclass(frozen=True)
class HeldOut:
    """What every model of a comparison is measured on.

    Attributes:
        documents: the held-out documents of the chosen half.
        question: what decides the windows, prompts and scores below, as JSON values.
        windows: where the next token is guessed.
        prompts: ids that every model continues while it is timed.
        new_tokens: how many it then writes.
    """

    documents: HeldOutShards
    question: Mapping[str, Any]
    windows: Sequence[Window]
    prompts: Sequence[Sequence[int]]
    new_tokens: int


@dataclass(frozen=True)
class Measured:
    """One model's figures; ``losses`` (nats), ``tokens``, ``text_bytes`` are those of each document."""

    family: str
    parameters: int
    losses: tuple[float, ...]
    tokens: tuple[int, ...]
    text_bytes: tuple[int, ...]
    scoring_seconds: float
    right: int
    guesses: int
    spent: Spent
    prompt: str
    text: str

    @property
    def scores(self) -> Scores:
        """The losses as the evaluation's tests take them."""
        return Scores(
            np.array(self.losses), np.array(self.tokens), np.array(self.text_bytes), self.scoring_seconds
        )  # fmt: skip


def held_out(ids: Ids, settings: EvaluationSettings, reach: int) -> HeldOut:
    """Return what all models are measured on; ``reach``: tokens that the shortest context of them holds.

    Raises:
        DataError: nothing is held out.
    """
    documents = HeldOutShards(ids.prepared.validation, ids.tokenizer, settings.part)
    windows = choose_windows(documents.documents(ids.tokenizer), reach, settings.predictions)
    if not windows:
        raise DataError(
            tr(
                "a comparison needs held-out text: give more or longer text, or raise text.validation_fraction",
                "比较需要留出文本：请提供更多或更长的文本，或提高 text.validation_fraction",
            )
        )
    shards, length = ids.prepared.validation, max(1, min(PROMPT, reach // 2))
    prompts = [shards.document(n % shards.document_count)[:length].tolist() for n in range(ROWS)]
    question = {**settings.model_dump(mode="json"), "reach": reach, "digest": shards.digest}
    return HeldOut(documents, question, windows, prompts, max(1, min(NEW, reach - length)))


def measure(folder: Path, record: Path, ids: Ids, wanted: HeldOut, seed: int) -> Measured:
    """Measure the model in ``folder``, or return what ``record`` holds of the very same model and question."""
    key = _key(folder, wanted, seed)
    if (known := _read(record, key)) is not None:
        return known
    opened = load(folder)
    documents = wanted.documents.documents(ids.tokenizer)
    total = tokens_known(wanted.documents, ids.tokenizer)
    stride = wanted.question["stride"]
    scores = score_documents(opened.model, documents, stride=stride, label=folder.name, total=total)
    right, guesses = first_guesses(opened.model, wanted.windows)
    sample = draw_samples(folder.name, opened.model, ids, seed)[0]
    found = Measured(
        family=opened.model.family,
        parameters=int(opened.facts.get("parameters") or stored_numbers(folder)),
        losses=tuple(scores.losses.tolist()),
        tokens=tuple(scores.tokens.tolist()),
        text_bytes=tuple(scores.text_bytes.tolist()),
        scoring_seconds=scores.seconds,
        right=right,
        guesses=guesses,
        spent=spent_in_writing(folder, wanted.prompts, wanted.new_tokens),
        prompt=sample.prompt,
        text=sample.text,
    )
    record.parent.mkdir(parents=True, exist_ok=True)
    replace_file(record, json.dumps({"key": key, "measured": asdict(found)}, ensure_ascii=False))
    return found


def stored_numbers(folder: Path) -> int:
    """Return how many floating-point numbers the weights of a folder, and of its members, hold.

    For a model that is counted these are its parameters: probabilities and back-off weights of every n-gram,
    transitions and emissions. The whole numbers beside them say where each stands.
    """
    from safetensors import safe_open

    total = 0
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - not a dictionary
            floats = [part for part in slices if part.get_dtype().startswith(("F", "BF"))]
            total += sum(int(np.prod(part.get_shape())) for part in floats)
    return total


def _key(folder: Path, wanted: HeldOut, seed: int) -> dict[str, Any]:
    """Return what decides the figures: the model, byte for byte, and the question."""
    manifest = hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest()
    return {"manifest": manifest, "question": dict(wanted.question), "seed": seed}


def _read(record: Path, key: Mapping[str, Any]) -> Measured | None:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        if found["key"] != key:
            return None
        values = found["measured"]
        lists = {name: tuple(values[name]) for name in ("losses", "tokens", "text_bytes")}
        return Measured(**{**values, **lists, "spent": Spent(**values["spent"])})
    except (OSError, ValueError, KeyError, TypeError):  # not there, or cut short: measure again
        return None
