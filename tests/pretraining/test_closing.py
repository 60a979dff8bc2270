"""The last words of a run, by what its folder holds."""

import json
import shlex
from pathlib import Path

import pytest

from zhixing.pretraining.closing import closing_words, next_commands
from zhixing.pretraining.run_folder import IDS_FOLDER, TrainResult


def run(folder: Path, family: str, *records: dict[str, float]) -> TrainResult:
    if records:
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    return TrainResult(folder, {"family": family})


def test_the_newest_figures_are_told(tmp_path: Path) -> None:
    records = [{"loss": 5.0, "validation_loss": 4.5, "seconds": 2.0}, {"loss": 4.25, "seconds": 4000.0}]
    lines = closing_words(run(tmp_path, "llama", *records)).splitlines()
    assert lines[:3] == [
        f"model: {tmp_path}",
        "loss: 4.2500 nats per token; on held-out text 4.5000",
        "trained for 1 h 6 min",
    ]


@pytest.mark.parametrize(("seconds", "said"), [(0.25, "0.2 s"), (59.0, "59.0 s"), (61.4, "1 min 1 s")])
def test_times(tmp_path: Path, seconds: float, said: str) -> None:
    words = closing_words(run(tmp_path, "gpt2", {"loss": 1.0, "seconds": seconds}))
    assert f"loss: 1.0000 nats per token\ntrained for {said}\nnext:" in words


def test_a_model_that_is_counted_has_no_loss_to_tell(tmp_path: Path) -> None:
    words = closing_words(run(tmp_path, "ngram"))
    assert "loss" not in words and f"zhixing generate {tmp_path} 'Once upon a time'" in words


def test_a_folder_whose_name_has_a_space_is_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / IDS_FOLDER).write_text(f"{tmp_path}/ids\n", encoding="utf-8")
    line = next(line for line in closing_words(run(folder, "llama")).splitlines() if "evaluate" in line)
    assert shlex.split(line) == ["zhixing", "evaluate", str(folder), "--data", f"{tmp_path}/ids/shards"]


@pytest.mark.parametrize(
    ("family", "verbs"),
    [
        ("llama", ["evaluate", "generate", "serve"]),
        ("bert", ["evaluate", "run fill-mask"]),
        ("word_vectors", ["run neighbours"]),
    ],
)
def test_each_family_is_offered_what_it_can_do(tmp_path: Path, family: str, verbs: list[str]) -> None:
    found = [" ".join(words[1:]) for words in next_commands(tmp_path, {"family": family}).values()]
    assert len(found) == len(verbs)
    assert all(command.startswith(f"{verb} {tmp_path}") for command, verb in zip(found, verbs, strict=True))
