"""From a model folder on disk to the command line, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from zhixing.errors import InputError
from zhixing.model_folder import write_folder
from zhixing.models.save import companion_files, ngram_files
from zhixing.serving.folders import model_names
from zhixing.tokenizers.chat_template import ChatTemplate


@pytest.fixture
def folder(ngram, tokenizer, tmp_path):
    path = tmp_path / "my-ngram"
    template = ChatTemplate(tokenizer)
    write_folder(path, {**ngram_files(ngram), **companion_files(tokenizer, template)}, facts={})
    return path


def test_names_come_from_the_folders(tmp_path):
    assert model_names([tmp_path / "a", tmp_path / "b"], None) == ["a", "b"]
    assert model_names([tmp_path / "a"], "模型") == ["模型"]
    with pytest.raises(InputError, match="--name"):
        model_names([tmp_path / "a", tmp_path / "b"], "c")
    with pytest.raises(InputError, match="two folders"):
        model_names([tmp_path / "x" / "a", tmp_path / "y" / "a"], None)
    with pytest.raises(InputError, match="cannot be"):
        model_names([tmp_path / "a"], "a/b")


def command(*words, **environment):
    program = "import sys; from zhixing.cli.app import main; main(sys.argv[1:])"

    clean = {name: value for name, value in os.environ.items() if name != "ZHIXING_API_KEY"}
    return subprocess.Popen(
        [sys.executable, "-c", program, "serve", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean | {"ZHIXING_LANG": "en", **environment},
    )


def test_serve_answers_and_ends_in_order_on_sigterm(folder):
    with command(folder, "--port", 0, "--json", ZHIXING_API_KEY="k") as process:
        try:
            started = json.loads(process.stdout.readline())
            assert started["models"] == ["my-ngram"]
            with openai.OpenAI(base_url=started["url"] + "/v1", api_key="k", max_retries=0) as client:
                text = client.completions.create(model="my-ngram", prompt="the c", max_tokens=9, temperature=0)
                chat = client.chat.completions.create(
                    model="my-ngram", messages=[{"role": "user", "content": "the"}], max_tokens=5
                )
            assert text.choices[0].text == "at sat on"
            assert chat.choices[0].message.role == "assistant"
            maps = Path(f"/proc/{process.pid}/maps")
            if maps.exists():
                assert "libtorch" not in maps.read_text(encoding="utf-8"), "an n-gram is served without torch"
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=15)
        finally:
            process.kill()
    assert process.returncode == 0
    assert out == "" and "Traceback" not in err


def test_a_second_signal_ends_at_once(folder):
    with command(folder, "--port", 0, "--json", "--drain-seconds", 60) as process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            with openai.OpenAI(base_url=url + "/v1", api_key="-", max_retries=0) as client:
                stream = client.completions.create(
                    model="my-ngram", prompt="the", max_tokens=4000, stream=True, logit_bias={"120": 100}
                )
                next(iter(stream))
                process.send_signal(signal.SIGINT)
                process.send_signal(signal.SIGTERM)
                with pytest.raises(openai.APIError, match="shutting down"):
                    for _ in stream:
                        pass
            _, err = process.communicate(timeout=15)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "ZHIXING_API_KEY"),
        (["--api-key-file", "/no/such/file"], "--api-key-file"),
        (["--name", "a/b"], "--name"),
        (["--host", "256.1.1.1", "--api-key-file", "KEY"], "cannot listen"),
    ],
)
def test_wrong_options_end_with_two_and_one_sentence(folder, tmp_path, words, said):
    key = tmp_path / "key"
    key.write_text("k", encoding="utf-8")
    key.chmod(0o600)
    words = [str(key) if word == "KEY" else word for word in words]
    with command(folder, "--port", 0, *words) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and said in err
    assert out == "" and "Traceback" not in err


def test_a_folder_that_is_none_is_refused(tmp_path):
    with command(tmp_path / "none", "--port", 0) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "none" in err and "Traceback" not in err
