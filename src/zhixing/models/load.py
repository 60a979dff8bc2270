"""Opening a model folder: any family, ours or written by transformers, verified before a weight is used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zhixing.errors import ConfigError, ModelFolderError
from zhixing.language import tr
from zhixing.model_folder import MANIFEST_NAME, read_config, read_manifest, read_tensors, verify_folder
from zhixing.model_folder.paths import check_names
from zhixing.models.families import ENCODERS, STATISTICAL, family_of
from zhixing.models.protocol import LanguageModel
from zhixing.tokenizers.chat_template import ChatTemplate, load_chat_template
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.protocol import Tokenizer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model folder in memory.

    Attributes:
        model: the language model.
        tokenizer: what turns text into its ids.
        chat_template: how conversations are written, or None.
        facts: what the manifest says produced the model.
        path: the folder the weights came from.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    path: Path
    facts: Mapping[str, Any] = field(default_factory=dict)


def load(path: str | Path, device: str = "cpu") -> Loaded:
    """Open a model folder, a run folder, or a folder written by transformers.

    A run that has not finished yet is opened at its newest whole checkpoint, and says so.

    Raises:
        ModelFolderError: the folder is missing, damaged, unsafe, or of an unknown family.
        ConfigError: there is no such device.
    """
    folder = _weights_folder(Path(path))
    model = load_model(folder, device)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size > model.vocab_size:
        raise ModelFolderError(
            tr(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} ids, the model only {model.vocab_size}",
                f"{folder}：分词器有 {tokenizer.vocab_size} 个编号，模型只有 {model.vocab_size} 个",
            )
        )
    manifest = read_manifest(folder)
    return Loaded(
        model,
        tokenizer,
        load_chat_template(folder, tokenizer),
        folder,
        dict(manifest.facts) if manifest else {},
    )


def load_model(folder: Path, device: str = "cpu") -> LanguageModel:
    """Open the model of a folder without its tokenizer."""
    config = read_config(folder)
    family = family_of(config, str(folder))
    if family in STATISTICAL:
        return _load_statistical(family, folder, config, device)
    return _load_neural(family, folder, config, device)


def _load_statistical(family: str, folder: Path, config: dict[str, Any], device: str) -> LanguageModel:
    tensors = read_tensors(folder, framework="numpy", check_finite=family != "ngram")
    if family == "ngram":
        from zhixing.models.ngram import NgramModel

        return NgramModel.from_tensors(config, tensors)
    if family == "hmm":
        from zhixing.models.hmm import HmmModel

        return HmmModel.from_tensors(config, tensors)
    from zhixing.models.mixture import MixtureModel

    names = config.get("members")
    if not isinstance(names, list):
        raise ModelFolderError(
            tr(
                f"{folder}/config.json: members should be a list of sub-folder names",
                f"{folder}/config.json：members 应为子文件夹名称的列表",
            )
        )
    check_names(names, f"{folder}/config.json", nested=False)
    members = [load_model(folder / "members" / name, device) for name in names]
    return MixtureModel.from_tensors(config, tensors, members)


def _load_neural(family: str, folder: Path, config: dict[str, Any], device: str) -> LanguageModel:
    from zhixing.models.decoders import read_settings, restore_decoder
    from zhixing.models.encoder import EncoderModel
    from zhixing.models.encoder_decoder import as_language_model

    tensors = read_tensors(folder)
    module = restore_decoder(read_settings(family, config, tensors), tensors, str(folder))
    try:
        return (EncoderModel if family in ENCODERS else as_language_model)(module.to(device))
    except (RuntimeError, AssertionError) as error:  # torch's ways of saying that there is no such device
        raise ConfigError(
            tr(f"device '{device}' cannot be used: {error}", f"无法使用设备 '{device}'：{error}")
        ) from error


def _weights_folder(path: Path) -> Path:
    if not path.is_dir():
        raise ModelFolderError(tr(f"there is no model folder at {path}", f"{path} 处没有模型文件夹"))
    if (path / "config.json").exists():
        return path
    steps = [step for step in (path / "training_state").glob("step-*") if (step / MANIFEST_NAME).exists()]
    for step in sorted(steps, key=lambda step: (len(step.name), step.name), reverse=True):
        if problems := verify_folder(step):
            _log.warning(
                tr(f"{step.name} is damaged, trying the one before: ", f"{step.name} 已损坏，改用前一个：")
                + "; ".join(problems)
            )
            continue
        _log.info(
            tr(
                f"{path}: the run is unfinished; using its checkpoint {step.name}",
                f"{path}：训练尚未完成；使用检查点 {step.name}",
            )
        )
        return step
    raise ModelFolderError(
        tr(
            f"{path} is not a model folder: it has no config.json and no whole checkpoint",
            f"{path} 不是模型文件夹：既无 config.json，也无完整的检查点",
        )
    )
