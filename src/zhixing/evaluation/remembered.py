"""Scores that are computed once where a model stands in the table both alone and inside a mixture.

The two are the same weights in two folders; the digests in the manifests say so. Windows of equal ids then have equal
scores. The seconds that a remembered score took the first time are counted again, so tokens/s stay what they are.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zhixing.model_folder import read_config, read_manifest
from zhixing.models.mixture import MixtureModel
from zhixing.models.protocol import Ids, LanguageModel, LogProbs

MOST_TOKENS = 16_000_000
"""Scores beyond this many tokens (64 MB) are computed again: memory does not grow with the held-out text."""


class Remembered:
    """A ``LanguageModel`` whose ``score`` is remembered by the ids it was given; all else is the model's own."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._known: dict[bytes, tuple[LogProbs, float]] = {}
        self._tokens = 0
        self.seconds_saved = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return the model's scores; see ``LanguageModel``."""
        key = _key(ids, lengths)
        if key in self._known:
            scores, seconds = self._known[key]
            self.seconds_saved += seconds
            return scores.copy()
        began = time.perf_counter()
        scores = self._model.score(ids, lengths)
        self._tokens += scores.size
        if self._tokens <= MOST_TOKENS:
            self._known[key] = scores.copy(), time.perf_counter() - began
        return scores


def share_members(models: Mapping[str, LanguageModel], folders: Mapping[str, Path]) -> dict[str, LanguageModel]:
    """Return the models, with every mixture's limited-context members replaced by the equal models beside it."""
    weights = {name: _weights(folders[name], "") for name in models}
    alone = {
        digests: Remembered(models[name])
        for name, digests in weights.items()
        if digests is not None and models[name].context_length is not None
    }
    shared: dict[str, LanguageModel] = {}
    for name, model in models.items():
        if isinstance(model, MixtureModel):
            inner = read_config(folders[name])["members"]
            digests = [_weights(folders[name], f"members/{member}/") for member in inner]
            members = [alone.get(d, m) if d else m for d, m in zip(digests, model.members, strict=True)]
            shared[name] = MixtureModel(members, model.gate, model.fitted)
        else:
            digests_of_it = weights[name]
            shared[name] = model if digests_of_it is None else alone.get(digests_of_it, model)
    return shared


def seconds_saved(model: LanguageModel) -> float:
    """Return the seconds that remembering has saved this model, or its members, so far."""
    parts = model.members if isinstance(model, MixtureModel) else (model,)
    return sum(part.seconds_saved for part in parts if isinstance(part, Remembered))


def _weights(folder: Path, prefix: str) -> tuple[str, str] | None:
    """Return the digests of a model's shape and weights; None where no manifest tells them."""
    manifest = read_manifest(folder)
    files = manifest.files if manifest else {}
    found = [files.get(prefix + name) for name in ("config.json", "model.safetensors")]
    return (found[0].sha256, found[1].sha256) if found[0] and found[1] else None


def _key(ids: Ids, lengths: Ids | None) -> bytes:
    text = hashlib.blake2b(repr(ids.shape).encode(), digest_size=16)
    text.update(ids.tobytes())
    text.update(b"all" if lengths is None else lengths.tobytes())
    return text.digest()
