"""The files of a model folder, for every family; ``model_folder`` writes them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zhixing.model_folder import MANIFEST_NAME, Content, tensor_files
from zhixing.tokenizers.chat_template import ChatTemplate
from zhixing.tokenizers.protocol import Tokenizer

if TYPE_CHECKING:
    from torch import nn

    from zhixing.models.decoders import DecoderSettings
    from zhixing.models.hmm import HmmModel
    from zhixing.models.mixture import MixtureModel
    from zhixing.models.ngram import NgramModel
    from zhixing.models.word_vectors import WordVectors


def neural_files(module: nn.Module, settings: DecoderSettings, separator_id: int) -> dict[str, Content]:
    """Return ``config.json`` and the weights of a decoder, in the Hugging Face layout."""
    from zhixing.models.decoders import export_tensors, to_config

    return {
        "config.json": _json(to_config(settings, separator_id)),
        **tensor_files(export_tensors(module, settings)),
    }


def ngram_files(model: NgramModel) -> dict[str, Content]:
    """Return ``config.json`` and the tables of an n-gram."""
    return {"config.json": _json(model.config()), **tensor_files(model.save_tensors())}


def hmm_files(model: HmmModel) -> dict[str, Content]:
    """Return ``config.json`` and the probabilities of a hidden Markov model."""
    return {"config.json": _json(model.config()), **tensor_files(model.save_tensors())}


def word_vector_files(model: WordVectors) -> dict[str, Content]:
    """Return ``config.json``, the vectors, and the words in their order, one a line."""
    words = "".join(f"{word}\n" for word in model.words).encode("utf-8", "surrogatepass")
    return {"config.json": _json(model.config()), "vocabulary.txt": words, **tensor_files(model.save_tensors())}


def mixture_files(model: MixtureModel, member_folders: Sequence[Path]) -> dict[str, Content]:
    """Return the files of a mixture: its own, and its members' shapes and weights under ``members/``."""
    names = [str(index) for index in range(len(member_folders))]
    files: dict[str, Content] = {
        "config.json": _json({**model.config(), "members": names}),
        **tensor_files(model.save_tensors()),
    }
    for name, folder in zip(names, member_folders, strict=True):
        for file in _model_files(folder):
            files[f"members/{name}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
    return files


def companion_files(tokenizer: Tokenizer, template: ChatTemplate | None = None) -> dict[str, Content]:
    """Return what travels with every model: the tokenizer's files, generation defaults, the chat template."""
    generation = {"eos_token_id": tokenizer.separator_id, "bos_token_id": tokenizer.separator_id}
    files: dict[str, Content] = {"generation_config.json": _json(generation)}
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save(Path(scratch))
        for file in sorted(Path(scratch).iterdir()):
            files[file.name] = file.read_bytes()
    if template is not None:
        files["chat_template.jinja"] = template.source
    return files


def _model_files(folder: Path) -> list[Path]:
    """Without the tokenizer. A member may lack a manifest (another library's) or be a mixture itself."""
    optional = [file for name in (MANIFEST_NAME, "model*.safetensors*") for file in sorted(folder.glob(name))]
    members = sorted(inner for inner in (folder / "members").glob("*") if inner.is_dir())
    return [folder / "config.json", *optional, *(file for inner in members for file in _model_files(inner))]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
