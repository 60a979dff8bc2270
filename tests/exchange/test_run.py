"""Where an exchange's result goes: only to a free place, whole, and aside where the two sides differ."""

from __future__ import annotations

import json

import pytest

from zhixing.errors import ConfigError, InputError
from zhixing.exchange import hugging_face
from zhixing.exchange.parity import Measure, Parity
from zhixing.exchange.run import export_model, import_model, read_report

GOOD, BAD = (Parity("a program 1.0", (Measure("logit_difference", "difference", v, 1e-5),)) for v in (1e-7, 0.5))


@pytest.fixture
def source(make, monkeypatch):
    monkeypatch.setattr(hugging_face, "check", lambda ours, theirs, options: GOOD)
    return make("gpt2")


def test_what_differs_is_kept_aside(source, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(hugging_face, "check", lambda ours, theirs, options: BAD)
    for name in ("out.failed", "out.failed-1"):
        found = export_model(source, "transformers", tmp_path / "out")
        assert not found.ok and found.out == tmp_path / name and not (tmp_path / "out").exists()
        assert read_report(found.out)["ok"] is False and (found.out / "model.safetensors").exists()
        assert name in found.problem() and "5.00e-01" not in found.problem() and "0.5 > 1.00e-05" in found.problem()
    assert [path for path in tmp_path.iterdir() if ".tmp-" in path.name] == []


def test_a_failed_exchange_leaves_the_earlier_one(source, tmp_path, monkeypatch) -> None:
    export_model(source, "transformers", tmp_path / "out")
    monkeypatch.setattr(hugging_face, "check", lambda ours, theirs, options: BAD)
    assert not export_model(source, "transformers", tmp_path / "out").ok
    assert read_report(tmp_path / "out")["ok"] is True


def test_the_place_is_free_empty_or_an_earlier_exchange(source, tmp_path) -> None:
    assert export_model(source, "transformers").out == tmp_path / "gpt2-transformers"
    (tmp_path / "empty").mkdir()
    assert export_model(source, "transformers", tmp_path / "empty").ok
    assert export_model(source, "transformers", tmp_path / "empty").ok
    (tmp_path / "empty" / "mine.txt").write_text("mine", encoding="utf-8")
    for place in (tmp_path / "empty", source):
        with pytest.raises(InputError, match="exists and was not made by"):
            export_model(source, "transformers", place)
        with pytest.raises(InputError, match="exists and was not made by"):
            import_model(source, place)
    assert (tmp_path / "empty" / "mine.txt").read_text(encoding="utf-8") == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists"):
        export_model(source, "transformers", tmp_path / "link")


def test_a_failure_while_writing_leaves_nothing(source, tmp_path, monkeypatch) -> None:
    def fail(ours, theirs, options):
        raise InputError("no")

    monkeypatch.setattr(hugging_face, "check", fail)
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError, match="no"):
        export_model(source, "transformers", tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


def test_unknown_formats_and_sources(source, tmp_path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'transformers'"):
        export_model(source, "transformer")
    with pytest.raises(ConfigError, match="can be written, not read"):
        import_model(source, tmp_path / "out", "gguf")
    with pytest.raises(InputError, match="no file or folder at"):
        import_model(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "a.gguf").write_bytes(b"GGUF\x03")
    with pytest.raises(ConfigError, match="can be written, not read"):
        import_model(tmp_path / "a.gguf", tmp_path / "out")
    (tmp_path / "a.xyz").write_bytes(b"?")
    with pytest.raises(InputError, match="not recognised"):
        import_model(tmp_path / "a.xyz", tmp_path / "out")


def test_the_report_is_json(source, tmp_path) -> None:
    found = export_model(source, "transformers", tmp_path / "out")
    value = json.loads(json.dumps(found.as_dict()))
    assert value["parity"]["measures"]["logit_difference"]["ok"] and value["files"][-1] == "parity.json"
