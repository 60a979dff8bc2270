"""Folders of Hugging Face transformers, both ways, for every family whose ``config.json`` names a class of theirs.

A model folder of ours already is in their layout; exporting writes it out again without what belongs to a training run
and opens it there. Importing reads safetensors only: pickled weights are refused, ``auto_map`` and other requests to
run code are left out and named, and nothing is downloaded.
"""

from __future__ import annotations

import logging as logs
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zhixing.errors import InputError
from zhixing.exchange.formats import Made, Options, json_text
from zhixing.exchange.ours import Asked, asked
from zhixing.exchange.pairs import shifted, start_id_of
from zhixing.exchange.parity import Bounds, Parity, Reader, Scores
from zhixing.language import tr
from zhixing.model_folder import Content, read_bytes, read_config
from zhixing.models.load import Loaded, load
from zhixing.models.protocol import Ids

_log = logs.getLogger(__name__)
_KEPT = ("generation_config.json", "special_tokens_map.json")
_PAGES = (
    "README.md", "LICENSE", "LICENSE.txt", "chat_template.jinja",
    "modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
)  # fmt: skip
"""Text that says what a model is and how its users read it; the second line is of sentence embedders."""
_OWN = ("_", "attn_implementation", "experts_implementation")
"""Beginnings of fields by which transformers is told how to compute, not what."""
_AUTO = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "hidden": "AutoModel",
    "pairs": "AutoModelForSeq2SeqLM",
}
"""What a model is asked → their class that answers it."""


def export_files(source: Path, options: Options) -> Made:
    """Return a folder that transformers opens unchanged."""
    loaded = load(source)
    _refuse_unknown(loaded)
    return Made(_folder_files(loaded), loaded.facts)


def import_files(source: Path, options: Options) -> Made:
    """Return a model folder of a folder that transformers wrote; see ``load`` for what is refused."""
    loaded = load(source)
    _refuse_unknown(loaded)
    return Made(_folder_files(loaded), loaded.facts)


def check(ours: Path, theirs: Path, options: Options) -> Parity:
    """Compare a model folder, opened here, with a folder opened by transformers."""
    try:
        import transformers
    except ImportError:
        return Parity(None, notes=(_without_library(),))
    loaded = load(ours)
    questions = asked(loaded)
    with _theirs(theirs):
        there: Any = _open_there(theirs, questions, loaded)

    def reader(*ids: Ids) -> Scores:
        with _theirs(theirs):
            scores: Scores = there(*ids)
        return scores

    measures = questions.ask(loaded, questions.reader, reader, options.sample, Bounds())
    return Parity(f"transformers {transformers.__version__}", tuple(measures))


@contextmanager
def _theirs(folder: Path) -> Iterator[None]:
    """Word what the library raises, which may be anything where it is given a stranger's files."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise _refused_there(folder, error) from error


def _refused_there(folder: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        tr(
            f"{folder}: transformers fails on it, so that nothing could be compared: {reason}",
            f"{folder}：transformers 处理它时出错，因而无从比较：{reason}",
        )
    )


def _without_library() -> str:
    return tr(
        'the logits were not compared with transformers, which is not installed: pip install "zhixing[hf]"',
        '未安装 transformers，因而没有与之比较 logit：pip install "zhixing[hf]"',
    )


def _folder_files(loaded: Loaded) -> dict[str, Content]:
    """Return weights and config as we write them, the tokenizer and all that says how to use the model as it was."""
    from zhixing.models.save import companion_files, neural_files

    module: Any = loaded.model
    tokenizer = loaded.tokenizer
    files = neural_files(module.module, module.module.settings, tokenizer.separator_id)
    files |= companion_files(tokenizer, loaded.chat_template)
    folder = loaded.path
    if (folder / "tokenizer_config.json").is_file():  # without what asks for code to be run
        files["tokenizer_config.json"] = json_text(read_config(folder, "tokenizer_config.json"))
    files |= {name: json_text(read_config(folder, name)) for name in _KEPT if (folder / name).is_file()}
    files |= {name: read_bytes(folder, name, limit=16 << 20) for name in _PAGES if (folder / name).is_file()}
    _tell_what_is_left(folder, files)
    return files


def _tell_what_is_left(folder: Path, files: Mapping[str, Content]) -> None:
    """Name the files of a folder that do not come along."""
    known = {*(name.split("/")[0] for name in files), "config.json", "MANIFEST.json", "parity.json", "training_state"}
    left = sorted(path.name for path in folder.iterdir() if path.name not in known and path.suffix != ".safetensors")
    left = [name for name in left if not name.startswith((".", "model.safetensors"))]
    if left:
        # A stranger's names may hold what a terminal obeys.
        shown = [name if name.isprintable() else repr(name) for name in left[:8]]
        names = ", ".join(shown) + (" …" if len(left) > 8 else "")
        _log.info(tr(f"{folder}: not taken along: {names}", f"{folder}：未带上：{names}"))


def _refuse_unknown(loaded: Loaded) -> None:
    """Refuse families that transformers does not have."""
    if class_name(loaded) is None:
        raise InputError(
            tr(
                f"{loaded.path}: transformers has no model of the family '{loaded.model.family}'",
                f"{loaded.path}：transformers 中没有 '{loaded.model.family}' 这一模型族",
            )
        )


def class_name(loaded: Loaded) -> str | None:
    """Return the name of the class by which transformers knows a model, None if it does not."""
    from zhixing.models.decoders import to_config

    module: Any = getattr(loaded.model, "module", None)
    if module is None:
        return None
    names = to_config(module.settings, loaded.tokenizer.separator_id).get("architectures")
    return str(names[0]) if names else None


def _open_there(folder: Path, questions: Asked, loaded: Loaded) -> Reader:
    """Return the scores that transformers computes in float32; safetensors only, no code of the folder, no network."""
    import transformers

    # A run folder's weights may be a checkpoint within.
    weights = folder if (folder / "config.json").is_file() else load(folder).path
    # Fields of its own choose kernels, which it may fetch and run.
    fields = {name: value for name, value in read_config(weights).items() if not name.startswith(_OWN)}
    config = transformers.AutoConfig.for_model(**fields)
    kind = getattr(transformers, _AUTO[questions.kind])
    with _quiet():
        model = kind.from_pretrained(
            weights,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        ).eval()

    if questions.kind == "pairs":
        return _pairs_reader(model, start_id_of(loaded))
    if fields.get("model_type") == "xlnet":
        return _permuted_reader(model)
    return _reader(model, questions.kind)


def _reader(model: Any, kind: str) -> Reader:
    def read(ids: Ids, lengths: Ids) -> Scores:
        with torch.inference_mode():
            found = model(torch.from_numpy(ids), attention_mask=_real(ids, lengths))
        scores: Scores = (found.last_hidden_state if kind == "hidden" else found.logits).float().numpy()
        return scores

    return read


def _pairs_reader(model: Any, start: int) -> Reader:
    def read(ids: Ids, lengths: Ids, targets: Ids | None = None) -> Scores:
        decoded = torch.from_numpy(shifted(ids if targets is None else targets, start))
        with torch.inference_mode():
            found = model(torch.from_numpy(ids), attention_mask=_real(ids, lengths), decoder_input_ids=decoded)
        scores: Scores = found.logits.float().numpy()
        return scores

    return read


def _permuted_reader(model: Any) -> Reader:
    """XLNet from left to right: the query of every place from the second to the one behind the text, all at once."""

    def read(ids: Ids, lengths: Ids) -> Scores:
        size = ids.shape[1] + 1
        wider = torch.nn.functional.pad(torch.from_numpy(ids), (0, 1))
        hidden = torch.ones(size, size).triu().expand(len(ids), -1, -1)  # 1: does not see; content sees itself anyway
        asked = torch.eye(size)[1:].expand(len(ids), -1, -1)
        with torch.inference_mode():
            rows = [
                model(wider[row : row + 1], perm_mask=hidden[row : row + 1], target_mapping=asked[row : row + 1]).logits
                for row in range(len(ids))
            ]
        scores: Scores = torch.cat(rows).float().numpy()
        return scores

    return read


def _real(ids: Ids, lengths: Ids) -> torch.Tensor:
    return torch.from_numpy((np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars and remarks from the terminal for a while."""
    from transformers.utils import logging

    remarks: Any = logging

    verbosity, bars = remarks.get_verbosity(), remarks.is_progress_bar_enabled()
    remarks.set_verbosity_error()
    remarks.disable_progress_bar()
    try:
        yield
    finally:
        remarks.set_verbosity(verbosity)
        if bars:
            remarks.enable_progress_bar()
