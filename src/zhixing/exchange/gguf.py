"""GGUF, the single file of llama.cpp: Llama style (Llama, Mistral, Qwen2, Qwen3) and GPT-2, in float32 or float16.

What differs from a model folder: names (the ``gguf`` package's own table), the Conv1D matrices of GPT-2 turned over,
rotary pairs of ``llama`` beside each other instead of half a head apart, and the tokenizer inside the file. Norms,
biases and positions stay in float32 whatever the precision, as llama.cpp wants them.

Parity is that of llama.cpp where the package llama-cpp-python is installed; else every tensor is read back and
compared, and the report says that no logits were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zhixing.errors import InputError, MissingExtraError
from zhixing.exchange.formats import Made, Options, Precision, written_name
from zhixing.exchange.gguf_vocabulary import Vocabulary, vocabulary
from zhixing.exchange.ours import asked
from zhixing.exchange.parity import FLOAT16, Bounds, Measure, Parity, Reader, Scores
from zhixing.language import tr
from zhixing.models.load import Loaded, load
from zhixing.models.protocol import Ids
from zhixing.models.rotary_scaling import NoScaling, stretch
from zhixing.tokenizers.protocol import Tokenizer

FILE = "model.gguf"
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gpt2": "gpt2"}
"""transformers' name → llama.cpp's."""
_TURNED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
_FULL = ("position_embd.weight",)
BOUNDS = {"gpt2": Bounds(scores=2e-3, perplexity=1e-3)}
"""llama.cpp looks GELU up in a table of float16."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Contents:
    """Everything a GGUF file says.

    Attributes:
        architecture: llama.cpp's name of the family.
        config: the fields of transformers' ``config.json``.
        tensors: by GGUF name, in the precision of the file.
        vocabulary: the tokenizer.
        template: of conversations, if there is one.
        name: of the model.
    """

    architecture: str
    config: Mapping[str, Any]
    tensors: Arrays
    vocabulary: Vocabulary
    template: str | None
    name: str


def export_files(source: Path, options: Options) -> Made:
    """Return ``model.gguf``.

    Raises:
        InputError: the family, a setting of it, or the tokenizer has no equal in llama.cpp.
        MissingExtraError: the package ``gguf`` is not installed.
    """
    loaded = load(source)
    found = contents(loaded, options.precision, written_name(source))
    facts = {**loaded.facts, "precision": options.precision}
    return Made({FILE: lambda path: _write(found, path, options.precision)}, facts)


def contents(loaded: Loaded, precision: Precision, name: str = "model") -> Contents:
    """Return what a model's GGUF file says; errors as ``export_files``."""
    from zhixing.models.decoders import export_tensors, to_config

    module: Any = getattr(loaded.model, "module", None)
    config = {} if module is None else to_config(module.settings, loaded.tokenizer.separator_id)
    architecture = ARCHITECTURES.get(str(config.get("model_type")))
    if architecture is None:
        raise InputError(
            tr(
                f"{loaded.path}: only {', '.join(ARCHITECTURES)} can be written as GGUF, not '{loaded.model.family}'",
                f"{loaded.path}：只有 {', '.join(ARCHITECTURES)} 可写成 GGUF，'{loaded.model.family}' 不可",
            )
        )
    _refuse_settings(config, loaded.path)
    theirs = {name: tensor.numpy() for name, tensor in export_tensors(module, module.settings).items()}
    tensors = _renamed(_arranged(theirs, config), architecture, _size(config, "num_hidden_layers", "n_layer"))
    tensors |= _rotary_factors(module.settings)
    template = None if loaded.chat_template is None else loaded.chat_template.source
    return Contents(
        architecture,
        config,
        {name: tensor.astype(_kind(name, tensor, precision)) for name, tensor in tensors.items()},
        vocabulary(loaded.tokenizer, loaded.model.vocab_size),
        template,
        name,
    )


def check(ours: Path, theirs: Path, options: Options) -> Parity:
    """Read the file back, and let llama.cpp compute with it where it is installed."""
    gguf = _library()
    loaded = load(ours)
    expected = contents(loaded, options.precision)
    same = _tensors_read_back(expected, gguf.GGUFReader(theirs / FILE))
    try:
        import llama_cpp
    except ImportError:
        note = tr(
            "the tensors were read back; no logits were compared, because llama-cpp-python is not installed",
            "已读回并比较各张量；未安装 llama-cpp-python，因而没有比较 logit",
        )
        return Parity("gguf", (same,), (note,))
    context = int(loaded.model.context_length or 0)
    there = llama_cpp.Llama(
        str(theirs / FILE), n_ctx=context, n_batch=context, n_ubatch=context, logits_all=True, verbose=False,
        type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, flash_attn=False,
    )  # fmt: skip
    bounds = FLOAT16 if options.precision == "f16" else BOUNDS.get(expected.architecture, Bounds(scores=5e-5))
    questions = asked(loaded)
    measures = questions.ask(loaded, questions.reader, _their_reader(there), options.sample, bounds)
    ids = _ids_agree(loaded.tokenizer, there, options.sample.texts)
    return Parity(f"llama-cpp-python {llama_cpp.__version__}", (same, ids, *measures))


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise MissingExtraError("gguf", "gguf", tr("GGUF export", "导出 GGUF")) from None
    return gguf


def _refuse_settings(config: Mapping[str, Any], where: Path) -> None:
    """Refuse what llama.cpp would compute otherwise, or not at all."""
    context = _size(config, "max_position_embeddings", "n_positions")
    window = config.get("sliding_window")
    scaling = (config.get("rope_parameters") or {}).get("rope_type", "default")
    problems = {
        "sliding_window": window if window is not None and window < context else None,
        "rope_type": scaling if scaling != "default" and ARCHITECTURES[config["model_type"]] != "llama" else None,
        "attention_bias": True if config.get("attention_bias") and config["model_type"] == "qwen3" else None,
        "activation_function": _other_activation(config),
    }
    if wrong := {name: value for name, value in problems.items() if value is not None}:
        named = ", ".join(f"{name} = {value!r}" for name, value in wrong.items())
        raise InputError(tr(f"{where}: {named} cannot be written as GGUF here", f"{where}：{named} 无法在此写成 GGUF"))


def _other_activation(config: Mapping[str, Any]) -> str | None:
    name = config.get("activation_function", "gelu_new")
    return None if name in ("gelu_new", "gelu_pytorch_tanh") else str(name)


def _arranged(tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Arrays:
    """Return the tensors as llama.cpp wants them, still under transformers' names."""
    found = {name: tensor.T if name.endswith(_TURNED) else tensor for name, tensor in tensors.items()}
    if ARCHITECTURES[config["model_type"]] != "llama":
        return found
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, tensor in found.items():
        part = name.split(".")[-2]
        if part in heads:
            found[name] = beside(tensor, heads[part])
    return found


def beside(tensor: NDArray[Any], heads: int) -> NDArray[Any]:
    """Return (H E, ...) rows whose rotary pairs, half a head apart, stand beside each other within each head."""
    halves = tensor.reshape(heads, 2, -1, *tensor.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(tensor.shape)


def _rotary_factors(settings: Any) -> Arrays:
    """Return by what llama.cpp is to divide each rotary frequency (E / 2,), where they are slowed for longer texts."""
    slower = stretch(getattr(settings, "rotary_scaling", NoScaling()))
    if slower is None:
        return {}
    evens = torch.arange(0, settings.per_head, 2, dtype=torch.float32)
    frequencies = 1.0 / settings.rotary_theta ** (evens / settings.per_head)
    return {"rope_freqs.weight": (frequencies / slower(frequencies)).numpy()}


def _renamed(tensors: Mapping[str, NDArray[Any]], architecture: str, layers: int) -> Arrays:
    """Return the tensors under the names of GGUF, by the package's own table."""
    gguf = _library()
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], layers)
    found: Arrays = {}
    for name, tensor in tensors.items():
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert new is not None, name
        found[new] = tensor
    return found


def _kind(name: str, tensor: NDArray[Any], precision: Precision) -> type[np.floating[Any]]:
    return np.float16 if precision == "f16" and tensor.ndim > 1 and name not in _FULL else np.float32


def _size(config: Mapping[str, Any], *names: str) -> int:
    return int(next(config[name] for name in names if config.get(name) is not None))


def _write(found: Contents, path: Path, precision: Precision) -> None:
    gguf = _library()
    config, words = found.config, found.vocabulary
    writer = gguf.GGUFWriter(path, found.architecture)
    width, heads = _size(config, "hidden_size", "n_embd"), _size(config, "num_attention_heads", "n_head")
    writer.add_name(found.name)
    writer.add_context_length(_size(config, "max_position_embeddings", "n_positions"))
    writer.add_embedding_length(width)
    writer.add_block_count(_size(config, "num_hidden_layers", "n_layer"))
    writer.add_feed_forward_length(int(config.get("intermediate_size") or config.get("n_inner") or 4 * width))
    writer.add_head_count(heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if precision == "f16" else gguf.LlamaFileType.ALL_F32)
    if found.architecture == "gpt2":
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    else:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
        writer.add_rope_dimension_count(config["head_dim"])
        writer.add_rope_freq_base(config["rope_theta"])
    _write_vocabulary(writer, words, found.template)
    for name, tensor in found.tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(tensor))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:  # also where the disk is full: a file left open would complain when it is collected
        writer.close()


def _write_vocabulary(writer: Any, words: Vocabulary, template: str | None) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.rule)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    writer.add_token_merges(words.merges)
    writer.add_bos_token_id(words.opening)
    writer.add_eos_token_id(words.separator)
    writer.add_add_bos_token(True)
    if template is not None:
        writer.add_chat_template(template)


def _tensors_read_back(expected: Contents, reader: Any) -> Measure:
    """Return the largest difference of a number between the file and what was to be in it; names and shapes first."""
    found = {tensor.name: np.asarray(tensor.data) for tensor in reader.tensors}
    worst, where = 0.0, tr(f"{len(found)} tensors", f"{len(found)} 个张量")
    for name in {*found, *expected.tensors}:
        one, other = expected.tensors.get(name), found.get(name)
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            worst, where = float("inf"), name
        elif (difference := float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())) > worst:
            worst, where = difference, name
    label = tr("largest difference of a stored weight", "所存权重的最大差")
    return Measure("tensor_difference", label, worst, 0.0, note=where)


def _their_reader(model: Any) -> Reader:
    def read(ids: Ids, lengths: Ids) -> Scores:
        found = np.zeros((*ids.shape, model.n_vocab()), np.float32)
        for row, length in enumerate(lengths.tolist()):
            model.reset()
            model.eval(ids[row, :length].tolist())
            found[row, :length] = model.scores[:length]
        return found

    return read


def _ids_agree(tokenizer: Tokenizer, model: Any, texts: Iterable[str]) -> Measure:
    """Return the share of documents that llama.cpp cuts into the same ids."""
    same = [
        model.tokenize(text.encode("utf-8"), add_bos=False, special=False) == tokenizer.encode(text) for text in texts
    ]
    label = tr("documents with the same ids", "编号相同的文档")
    return Measure("same_ids", label, sum(same) / len(same), 1.0, at_least=True, note=f"{sum(same)}/{len(same)}")
