"""Import and export against damaged, hostile and mistaken input: one sentence, soon, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from zhixing.errors import ConfigError, DataError, InputError, ModelFolderError
from zhixing.exchange.formats import Options, recognise
from zhixing.exchange.questions import Sample, cut, default_texts, read_texts
from zhixing.exchange.run import export_model, import_model
from zhixing.model_folder import write_folder
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import DecoderSettings, build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.interop import arpa_reading, vectors
from zhixing.models.interop.arpa_reading import read_arpa
from zhixing.models.interop.fasttext import read_fasttext, write_fasttext
from zhixing.models.interop.vectors import read_vectors, write_vectors
from zhixing.models.llama import LlamaSettings
from zhixing.models.load import load, load_model
from zhixing.models.save import companion_files, neural_files, word_vector_files
from zhixing.models.t5 import T5Settings
from zhixing.models.transformer import TransformerSettings
from zhixing.models.word_vectors import WordVectors
from zhixing.models.xlnet import XLNetSettings
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.specials import MASK
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

SHAPE: dict[str, Any] = {"context_length": 24, "layers": 1, "width": 16, "heads": 2}
OPTIONS = Options(Sample(default_texts(), greedy_tokens=2, scored_tokens=60))
TABLE = WordVectors(["the", "cat", "知"], np.arange(12, dtype=np.float32).reshape(3, 4))
ARPA = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-99\t<s>\t-0.3
-0.3010300\t</s>
-0.6020600\ta\t-0.3
-0.6020600\tb\t-0.3

\\2-grams:
-0.1\t<s> a
-0.2\ta b

\\end\\
"""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TokenizerSettings(vocab_size=280, min_frequency=2), ["knowing and doing 知行 " * 20], [MASK])


@pytest.fixture
def make(tmp_path: Path, tokenizer: Tokenizer) -> Callable[..., Path]:
    """Return a function that writes a small model under a name, without a manifest: a stranger's folder."""

    def write(settings: DecoderSettings, name: str = "theirs") -> Path:
        torch.manual_seed(0)
        settings = settings.replace(vocab_size=tokenizer.vocab_size)
        module = build_decoder(settings)
        files = neural_files(module, settings, tokenizer.separator_id) | companion_files(tokenizer)
        write_folder(tmp_path / name, files, facts={})
        (tmp_path / name / "MANIFEST.json").unlink()
        return tmp_path / name

    return write


def change(folder: Path, **fields: Any) -> None:
    """Change ``config.json``."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")


# --- n-grams ------------------------------------------------------------------------------------------------


def arpa(folder: Path, data: str | bytes) -> Path:
    path = folder / "m.arpa"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ngram 1=4", "ngram 1=" + "9" * 5000, r":2: should be 'ngram 1=COUNT'"),
        ("ngram 2=2", "ngram " + "1" * 5000 + "=2", r":3: should be \\1-grams:"),
        ("-0.6020600\ta", "-0_6020600\ta", r":8: '-0_6020600' is not the logarithm"),
        ("\\2-grams:", "\\" + "2" * 5000 + "-grams:", r":11: should be \\2-grams:"),
        ("\\end\\\n", "\\end\\\nand more\n", r":16: stands behind \\end\\: 'and more'"),
    ],
)
def test_arpa_with_endless_numbers_or_a_rest_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ARPA
    with pytest.raises(DataError, match=message):
        read_arpa(arpa(tmp_path, ARPA.replace(old, new)))


def test_arpa_of_another_system_is_read(tmp_path: Path) -> None:
    plain = read_arpa(arpa(tmp_path, ARPA))
    for data in (ARPA.replace("\n", "\r\n"), "\ufeff" + ARPA):
        assert read_arpa(arpa(tmp_path, data))[1] == plain[1]


def test_arpa_without_line_ends_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arpa_reading, "_LONGEST_LINE", 1000)
    with pytest.raises(DataError, match=r"m\.arpa:2: is longer than 1,000 bytes"):
        read_arpa(arpa(tmp_path, "\\data\\\n" + "x" * 5000))


def test_words_that_no_text_can_give_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("kenlm")
    text = ARPA
    for old in ("\ta\t", "<s> a", "\ta b"):  # an ideographic space: ARPA splits at others only
        text = text.replace(old, old.replace("a", "w\u3000z"))
    source = arpa(tmp_path, text)
    import_model(source, tmp_path / "out", options=OPTIONS)
    assert "1 words hold white space, such as 'w\\u3000z'" in caplog.text


def test_words_of_one_probability_are_no_disagreement(tmp_path: Path) -> None:
    """Which of two equal ones is written depends on the last bit, on either side."""
    pytest.importorskip("kenlm")
    tied = ARPA.replace("-0.3010300\t</s>", "-0.4771213\t</s>").replace("-0.6020600", "-0.4771213")
    assert import_model(arpa(tmp_path, tied), tmp_path / "out", options=OPTIONS).ok


def test_a_text_shorter_than_the_prompts(tmp_path: Path) -> None:
    """ARPA knows nothing behind the end of a text, so that no prompt may reach there."""
    pytest.importorskip("kenlm")
    short = Options(Sample(("a", "b a", "b"), greedy_tokens=4))
    assert import_model(arpa(tmp_path, ARPA), tmp_path / "out", options=short).ok


# --- vectors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "binary"])
@pytest.mark.parametrize("head", ["9" * 5000 + " 4", "3 " + "9" * 5000])
def test_endless_counts_of_vectors_are_refused(tmp_path: Path, form: vectors.Format, head: str) -> None:
    path = tmp_path / "v.vec"
    path.write_text(head + "\nthe 1 2 3 4\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"v\.vec:1: should be the number of words and the width"):
        read_vectors(path, form)


def test_a_first_line_cannot_ask_for_more_memory_than_the_file_has_numbers(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_bytes(b"w " + b"1 " * 100_000 + b"\n" * 1_000_000)  # 400 GB of vectors
    with pytest.raises(DataError, match=r"glove\.txt:1: announces 1,000,000 words of 100000 numbers"):
        read_vectors(path)


def test_a_first_line_without_numbers_is_refused(tmp_path: Path) -> None:
    for text in ("\nthe 1 2\n", "\n\n\n", "word\n"):
        (tmp_path / "v.vec").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"v\.vec:1: holds no words, or none with numbers"):
            read_vectors(tmp_path / "v.vec")


def test_a_last_number_that_was_cut_is_not_taken_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "v.vec"
    path.write_text("2 2\nthe 1 2.5\ncat 3 4.25\n", encoding="utf-8")
    read_vectors(path)
    assert caplog.text == ""
    path.write_text("2 2\nthe 1 2.5\ncat 3 4.2", encoding="utf-8")
    read_vectors(path)
    assert "v.vec:3: has no line end" in caplog.text
    path.write_text("1 2\nthe 1 2_5\n", encoding="utf-8")
    with pytest.raises(DataError, match="has a value with '_' in it"):
        read_vectors(path)


def test_fasttext_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.bin"
    write_fasttext(TABLE, path)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) - 4 * 12, len(whole) - 4 * 12 - 3):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="output matrix"):
            read_fasttext(path)


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path) -> None:
    for text in ("2 2\nthe 1 2\ncat 3 4\n", "the 1 2 3\ncat 3 4 5\n"):
        (tmp_path / "v.vec").write_text("\ufeff" + text, encoding="utf-8")
        assert read_vectors(tmp_path / "v.vec").words == ("the", "cat")


def test_a_line_of_vectors_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_LONGEST_LINE", 1000)
    (tmp_path / "v.vec").write_text("1 1000\nw " + "1 " * 1000 + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"v\.vec:2: is longer than 1,000 bytes"):
        read_vectors(tmp_path / "v.vec")


def test_endless_n_grams_of_fasttext_are_refused(tmp_path: Path) -> None:
    """A longest n-gram of two billion letters would keep the reader busy for ever."""
    grams = np.ones((5, 4), np.float32)
    write_fasttext(WordVectors(TABLE.words, TABLE.vectors, grams, (3, 5)), tmp_path / "v.bin")
    data = bytearray((tmp_path / "v.bin").read_bytes())
    data[8 + 4 * 10 : 12 + 4 * 10] = struct.pack("<i", 2**31 - 1)
    (tmp_path / "v.bin").write_bytes(data)
    with pytest.raises(DataError, match="n-grams of 3 to 2147483647 letters"):
        read_fasttext(tmp_path / "v.bin")


# --- config.json that lies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "fields", "message"),
    [
        (GPT2Settings(**SHAPE), {"n_embd": 10**20}, r"n_embd = 1000+ is larger than that of any model"),
        (GPT2Settings(**SHAPE), {"layer_norm_epsilon": 10**400}, "layer_norm_epsilon should be a number"),
        (GPT2Settings(**SHAPE), {"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon should be a number"),
        (GPT2Settings(**SHAPE), {"n_head": 0}, "heads: 0 must be at least 1"),
        (GPT2Settings(**SHAPE), {"activation_function": "y" * 10_000}, r"activation_function = .{70,90} is not supp"),
        (
            T5Settings(**SHAPE),
            {"num_decoder_layers": 10**8},
            "num_decoder_layers = 100000000 is larger than that of any",
        ),
        (LlamaSettings(**SHAPE), {"num_hidden_layers": 10**8}, "asks for 100000000 layers, the file has"),
        (LlamaSettings(**SHAPE), {"max_position_embeddings": 200_000_000}, "GB for a table of positions; lower it to"),
        (TransformerSettings(**SHAPE), {"max_position_embeddings": 200_000_000}, "for a table of positions; lower"),
    ],
)
def test_sizes_are_refused_before_memory_is_asked_for(
    make: Callable[..., Path], settings: DecoderSettings, fields: dict[str, Any], message: str
) -> None:
    folder = make(settings)
    change(folder, **fields)
    with pytest.raises(ModelFolderError, match=message):
        load_model(folder)


def test_what_is_wrong_with_a_setting_is_said_in_chinese(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(GPT2Settings(**SHAPE))
    change(folder, n_head=0)
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    with pytest.raises(ModelFolderError, match="须不小于 1"):
        load_model(folder)


# --- weights that contradict config.json --------------------------------------------------------------------

TIED = [
    (GPT2Settings(**SHAPE), "lm_head.weight", "transformer.wte.weight"),
    (LlamaSettings(**SHAPE, tied=True), "lm_head.weight", "model.embed_tokens.weight"),
    (BertSettings(**SHAPE), "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    (BertSettings(**SHAPE), "cls.predictions.decoder.bias", "cls.predictions.bias"),
    (BertSettings(**SHAPE, variant="roberta", padding_id=1), "lm_head.decoder.bias", "lm_head.bias"),
    (XLNetSettings(**SHAPE), "lm_loss.weight", "transformer.word_embedding.weight"),
    (TransformerSettings(**SHAPE), "lm_head.weight", "model.shared.weight"),
    (T5Settings(**SHAPE), "decoder.embed_tokens.weight", "shared.weight"),
]


@pytest.mark.parametrize(("settings", "copy", "original"), TIED)
def test_a_tied_weight_is_dropped_only_where_it_says_the_same(
    make: Callable[..., Path], settings: DecoderSettings, copy: str, original: str
) -> None:
    folder = make(settings)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {copy: tensors[original].clone()}, folder / "model.safetensors")
    load_model(folder)
    for other in (tensors[original] + 1, torch.ones(3)):
        save_file(tensors | {copy: other}, folder / "model.safetensors")
        with pytest.raises(ModelFolderError, match=f"they differ: {copy} ≠ {original}"):
            load_model(folder)


def test_weights_without_their_scales_are_refused(make: Callable[..., Path]) -> None:
    folder = make(GPT2Settings(**SHAPE))
    tensors = load_file(folder / "model.safetensors")
    for kind in (torch.int8, torch.bool, torch.complex64):
        save_file(tensors | {(name := "transformer.wte.weight"): tensors[name].to(kind)}, folder / "model.safetensors")
        with pytest.raises(ModelFolderError, match=r"quantised weights are not read: transformer.wte.weight \(torch"):
            load_model(folder)
    save_file({name: tensor.double() for name, tensor in tensors.items()}, folder / "model.safetensors")
    load_model(folder)


def test_other_positions_than_the_familys_are_refused(make: Callable[..., Path]) -> None:
    folder = make(TransformerSettings(**SHAPE))
    tensors, name = load_file(folder / "model.safetensors"), "model.encoder.embed_positions.weight"
    places: Any = load(folder).model
    table = places.module.places.clone()
    save_file(tensors | {name: table.half()}, folder / "model.safetensors")
    load_model(folder)
    for other in (table + 0.1, table[:, :-1].clone(), table[0].clone()):
        save_file(tensors | {name: other}, folder / "model.safetensors")
        with pytest.raises(ModelFolderError, match="other values than the sinusoids"):
            load_model(folder)


# --- the other program ---------------------------------------------------------------------------------------


def test_what_transformers_refuses_is_said_in_a_sentence(make: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = make(BertSettings(**SHAPE, head=False, pooler=True))
    for field, value in (("id2label", "no table of labels"), ("hidden_dropout_prob", float("nan"))):
        before = (folder / "config.json").read_bytes()
        change(folder, **{field: value})
        with pytest.raises(InputError, match="theirs: transformers fails on it, so that nothing could be compared"):
            import_model(folder, tmp_path / "out", options=OPTIONS)
        (folder / "config.json").write_bytes(before)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_a_config_does_not_choose_kernels(make: Callable[..., Path], tmp_path: Path) -> None:
    """transformers would fetch code from elsewhere for such a name."""
    pytest.importorskip("transformers")
    folder = make(GPT2Settings(**SHAPE))
    change(folder, _attn_implementation="somebody/kernels", _attn_implementation_internal="somebody/kernels")
    assert import_model(folder, tmp_path / "out", options=OPTIONS).ok


@pytest.mark.parametrize("kind", [GPT2Settings, LlamaSettings, BertSettings, XLNetSettings, T5Settings])
@pytest.mark.parametrize("context", [2, 3])
def test_the_shortest_contexts(make: Callable[..., Path], tmp_path: Path, kind: Any, context: int) -> None:
    pytest.importorskip("transformers")
    folder = make(kind(**(SHAPE | {"context_length": context})))
    assert export_model(folder, "transformers", tmp_path / "out", OPTIONS).ok


def test_more_tokens_than_places(make: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    for number, kind in enumerate((GPT2Settings, TransformerSettings, T5Settings)):
        folder = make(kind(**SHAPE), kind.__name__)
        more = Options(Sample(default_texts(), greedy_tokens=40, scored_tokens=60))
        assert export_model(folder, "transformers", tmp_path / f"out{number}", more).ok


# --- places ---------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_folder(tmp_path / "table", word_vector_files(TABLE), facts={})
    return tmp_path / "table"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_source_is_never_written_over(table: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    export_model(table, "word2vec", there)
    imported = tmp_path / "imported"
    import_model(there, imported)
    (tmp_path / "link").symlink_to(there)
    before = snapshot(tmp_path)
    for source in (there, there / "vectors.vec", tmp_path / "link", there / ".." / "there"):
        with pytest.raises(InputError, match="which would be lost; choose another name"):
            import_model(source, there)
    with pytest.raises(InputError, match="which would be lost"):
        export_model(imported, "fasttext", imported)
    assert snapshot(tmp_path) == before
    assert export_model(imported, "fasttext", imported / "fasttext").ok  # within is no harm


def test_an_export_that_was_edited_is_not_written_over(table: Path, tmp_path: Path) -> None:
    export_model(table, "word2vec", tmp_path / "there")
    export_model(table, "word2vec", tmp_path / "there")
    (tmp_path / "there" / "vectors.vec").write_text("my own work", encoding="utf-8")
    with pytest.raises(InputError, match="or was changed since"):
        export_model(table, "word2vec", tmp_path / "there")
    assert (tmp_path / "there" / "vectors.vec").read_text(encoding="utf-8") == "my own work"


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX file systems")
def test_what_the_system_refuses_is_bad_input(table: Path, tmp_path: Path) -> None:
    endless = tmp_path / ("n" * 300)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: import_model(endless, tmp_path / "out"),
        lambda: import_model(table, endless),
        lambda: export_model(table, "word2vec", endless),
        lambda: export_model(endless, "word2vec"),
    )
    for call in calls:
        with pytest.raises(InputError, match=r"cannot (read|write) .*File name too long"):
            call()


@pytest.mark.parametrize("form", ["transformers", "gguf", "onnx", "word2vec", "word2vec-binary", "fasttext"])
@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
def test_a_full_disk_is_said_of_the_place_that_was_asked_for(
    table: Path, make: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    """A limit on file size makes the system refuse a write as a full disk does."""
    import resource

    for name in {"gguf": ("gguf",), "onnx": ("onnx", "onnxscript")}.get(form, ()):
        pytest.importorskip(name)
    neural = form in ("transformers", "gguf", "onnx")
    source = make(GPT2Settings(**SHAPE | {"width": 64})) if neural else table
    before = set(tmp_path.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000 if neural else 20, hard))
    try:
        with pytest.raises(ModelFolderError, match=rf"^cannot write {tmp_path / 'out'}: (File too|No sp).*; free some"):
            export_model(source, form, tmp_path / "out", OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert set(tmp_path.iterdir()) == before


def test_a_python_without_its_sources_still_has_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", missing)
    assert all(text.strip() for text in default_texts()) and "heap" in "".join(default_texts()).lower()


def test_names_that_are_not_utf8(table: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"odd\xff")
    try:
        table.rename(odd)
    except OSError:
        pytest.skip("this file system has no such names")
    assert export_model(odd, "word2vec", tmp_path / "there").ok
    assert import_model(tmp_path / "there", tmp_path / os.fsdecode(b"out\xfe")).ok


def test_files_that_are_no_model_say_what_to_do(tmp_path: Path) -> None:
    for name, message in (
        ("pytorch_model.bin", "can run code: never opened; convert it to safetensors"),
        ("model.pt", "can run code: never opened"),
        ("model.safetensors", "give the folder it lies in"),
        ("notes.xyz", "format is not recognised"),
    ):
        (tmp_path / name).write_bytes(b"\x80\x04 whatever")
        with pytest.raises(InputError, match=message):
            recognise(tmp_path / name)
    (tmp_path / "empty.bin").write_bytes(b"\n")
    with pytest.raises(InputError, match="never opened"):
        recognise(tmp_path / "empty.bin")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")
def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    """To open one waits until somebody writes, for ever."""
    os.mkfifo(tmp_path / "m.arpa")
    for form in ("arpa", "word2vec", "fasttext", None):
        with pytest.raises(InputError, match=r"there is no file (or folder )?at"):
            import_model(tmp_path / "m.arpa", tmp_path / "out", form)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"there is no file at .*model\.arpa"):
        import_model(tmp_path / "empty", tmp_path / "out", "arpa")


def test_a_word_that_has_no_end_does_not_fill_the_screen(tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_bytes(b"\xff" * 100_000 + b" 1 2\n")
    with pytest.raises(DataError) as refused:
        read_vectors(tmp_path / "v.vec")
    assert "not UTF-8" in str(refused.value) and len(str(refused.value)) < 500


def test_names_of_files_left_behind_do_not_reach_the_terminal_raw(
    make: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("transformers")
    caplog.set_level("INFO")
    folder = make(GPT2Settings(**SHAPE))
    (folder / "evil\x1b[31m\n.txt").write_text("", encoding="utf-8")
    import_model(folder, tmp_path / "out", options=OPTIONS)
    assert r"not taken along: 'evil\x1b[31m\n.txt'" in caplog.text and "\x1b" not in caplog.text


def test_a_place_without_a_name() -> None:
    with pytest.raises(InputError, match="/ has no name; give --out"):
        export_model(Path("/"), "gguf")


@pytest.mark.parametrize("lengths", [(5, 3), (3, 10**12)])
def test_n_grams_that_no_file_can_hold(tmp_path: Path, lengths: tuple[int, int]) -> None:
    grams = np.ones((5, 4), np.float32)
    with pytest.raises(DataError, match="letters cannot be written: the model folder is damaged"):
        write_fasttext(WordVectors(TABLE.words, TABLE.vectors, grams, lengths), tmp_path / "v.bin")
    assert not (tmp_path / "v.bin").exists()


def test_a_context_too_short_for_a_graph(make: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    with pytest.raises(InputError, match="a context of 2 tokens is too short for a graph of open length"):
        export_model(make(GPT2Settings(**SHAPE | {"context_length": 2})), "onnx", tmp_path / "out", OPTIONS)


def test_options_that_would_say_nothing_are_refused(table: Path, make: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--precision is of gguf alone"):
        export_model(table, "word2vec", tmp_path / "out", Options(OPTIONS.sample, precision="f16"))
    with pytest.raises(ConfigError, match="--tokenizer is of arpa alone"):
        import_model(make(GPT2Settings(**SHAPE)), tmp_path / "out", options=Options(OPTIONS.sample, tokenizer=table))


def test_a_text_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "gb.txt").write_bytes("ab知行".encode("gb18030"))
    (tmp_path / "mark.txt").write_text("\ufeffknowing", encoding="utf-8")
    with pytest.raises(DataError, match=r"gb\.txt is not UTF-8 \(byte \d\); convert it first"):
        read_texts([tmp_path / "gb.txt"])
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=rf"cannot read {path}: [A-Z][a-z ]+$"):
            read_texts([path])
    assert read_texts([tmp_path / "mark.txt"]) == ("knowing",)


def test_a_text_without_tokens_is_refused(make: Callable[..., Path]) -> None:
    loaded = load(make(GPT2Settings(**SHAPE)))
    assert len(cut(loaded, Sample(("", "knowing")), 8)) > 0
    with pytest.raises(DataError, match="finds no token in it"):
        cut(loaded, Sample(("", "")), 8)


def test_vectors_that_gensim_would_not_read_back(tmp_path: Path) -> None:
    """A word with a space of another kind stays one word on both sides."""
    words = WordVectors(["a\u00a0b", "c"], np.eye(2, dtype=np.float32))
    write_vectors(words, tmp_path / "v.vec")
    assert read_vectors(tmp_path / "v.vec").words == words.words
