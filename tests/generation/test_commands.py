"""``zhixing generate`` and ``zhixing chat`` on a real model folder."""

import io
import json
import sys

import pytest
from typer.testing import CliRunner

from zhixing.errors import ConfigError, DataError
from zhixing.generation.pipeline import pipeline

TEXT = "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n\n\n# 加法与减法\n" * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import numpy as np

    from zhixing.model_folder import write_folder
    from zhixing.models.ngram import NgramModel
    from zhixing.models.save import companion_files, ngram_files
    from zhixing.tokenizers.bytes import ByteTokenizer

    tokenizer = ByteTokenizer()
    ids = np.array([tokenizer.separator_id, *tokenizer.encode(TEXT), tokenizer.separator_id])
    model = NgramModel.fit([ids], tokenizer.vocab_size, tokenizer.separator_id, order=4)
    path = tmp_path_factory.mktemp("model") / "ngram"
    write_folder(path, {**ngram_files(model), **companion_files(tokenizer)}, facts={})
    return path


def run(verb, *words, text=None):
    import importlib

    app = importlib.import_module(f"zhixing.cli.{verb}").app
    return CliRunner().invoke(app, list(map(str, words)), input=text)


def test_json_is_one_line_and_repeats(folder):
    words = (folder, "def ", "# ", "--max-new-tokens", 12, "--seed", 3, "--n", 2, "--logprobs", 2, "--json")
    first, second = run("generate", *words), run("generate", *words)
    assert first.exit_code == 0, first.output
    assert first.stdout == second.stdout and first.stdout.count("\n") == 1
    texts = json.loads(first.stdout)["texts"]
    assert [text["prompt"] for text in texts] == ["def ", "def ", "# ", "# "]
    assert all(text["completion_tokens"] <= 12 and text["finish_reason"] in ("stop", "length") for text in texts)


def test_stream_and_whole_are_equal(folder):
    words = (folder, "def ", "--seed", 1)
    assert run("generate", *words, "--stream").stdout == run("generate", *words, "--no-stream").stdout


def test_prompt_from_a_file_and_from_standard_input(folder, tmp_path):
    (tmp_path / "prompt.txt").write_text("# 加", encoding="utf-8")
    from_file = run("generate", folder, "--file", tmp_path / "prompt.txt", "--temperature", 0)
    from_input = run("generate", folder, "--temperature", 0, text="# 加")
    assert from_file.stdout == from_input.stdout and from_file.stdout.startswith("# 加法")


def test_the_drawn_seed_is_reported(folder):
    result = run("generate", folder, "def ", "--max-new-tokens", 8)
    seed = result.stderr.split("--seed ")[1].rstrip(")\n）")
    assert run("generate", folder, "def ", "--max-new-tokens", 8, "--seed", seed).stdout == result.stdout


def test_wrong_input(folder, tmp_path):
    assert isinstance(run("generate", folder, "a", "--temperature", "1e400").exception, ConfigError)
    assert isinstance(run("generate", folder, "a", "--n", 10**12).exception, ConfigError)
    assert isinstance(run("generate", folder, "--file", tmp_path / "none").exception, DataError)
    (tmp_path / "bad").write_bytes(b"\xff\xfe\xff")
    assert isinstance(run("generate", folder, "--file", tmp_path / "bad").exception, DataError)


def test_nothing_drives_the_terminal(monkeypatch):
    from zhixing.cli.generate import show

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, expected in ((Terminal(), "\\x1b[2J"), (io.StringIO(), "\x1b[2J")):
        monkeypatch.setattr(sys, "stdout", stream)
        show("\x1b[2J")
        assert stream.getvalue() == expected


def test_chat(folder):
    result = run("chat", folder, "--max-new-tokens", 8, "--seed", 1, "--json", text="def \n# \n\n")
    assert result.exit_code == 0, result.output
    messages = json.loads(result.stdout)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    shown = run("chat", folder, "--max-new-tokens", 8, "--seed", 1, text="def \n# \n").stdout
    assert shown == "".join(message["content"] + "\n" for message in messages[1::2])


def test_pipeline_from_a_path(folder):
    pipe = pipeline("text-generation", model=folder)
    (text,) = pipe("# 加", do_sample=False, max_new_tokens=6)
    assert (
        text["generated_text"] == run("generate", folder, "# 加", "--temperature", 0, "--max-new-tokens", 6).stdout[:-1]
    )


def test_a_model_folder_may_be_told_to_write_on_after_a_document(folder):
    words = (folder, "减法\n", "--max-new-tokens", 300, "--seed", 1, "--json")
    (ended,) = json.loads(run("generate", *words).stdout)["texts"]
    (endless,) = json.loads(run("generate", *words, "--no-stop-at-separator").stdout)["texts"]
    assert (ended["finish_reason"], endless["finish_reason"]) == ("stop", "length")
    assert endless["completion_tokens"] == 300 > ended["completion_tokens"]
