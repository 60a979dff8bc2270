"""The model folder: written whole, read back equal, everything wrong with it named."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from zhixing.errors import ModelFolderError
from zhixing.model_folder import (
    MANIFEST_NAME,
    check_tensor_names,
    model_card,
    publish_into,
    read_bytes,
    read_config,
    read_manifest,
    read_tensors,
    tensor_files,
    tensor_shapes,
    verify_folder,
    write_folder,
    write_tensors,
)

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


def some_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "embedding.weight": torch.randn(7, 5, generator=generator),
        "scale": torch.tensor(0.25, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "层.bias": torch.randn(5, generator=generator).bfloat16(),
    }


def write_model(path: Path, **extra: str) -> Path:
    files = tensor_files(some_tensors()) | {"config.json": '{"model_type": "llama"}', **extra}
    write_folder(path, files, facts={"seed": 1, "recipe": "ab", "best": float("inf")})
    return path


def test_folder_round_trip(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", **{"说明.txt": "知行"})
    got = read_tensors(folder)
    assert got.keys() == some_tensors().keys()
    for name, tensor in some_tensors().items():
        assert got[name].dtype == tensor.dtype and torch.equal(got[name], tensor), name
    assert read_config(folder) == {"model_type": "llama"}
    assert read_bytes(folder, "说明.txt").decode() == "知行"
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.facts == {"seed": 1, "recipe": "ab", "best": "inf"}
    assert set(manifest.files) == {"config.json", "model.safetensors", "说明.txt"}
    assert verify_folder(folder) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_every_dtype_and_tied_and_transposed_tensors_are_exact(tmp_path: Path) -> None:
    tensors = {str(dtype): torch.arange(-3, 5).to(dtype) for dtype in DTYPES}
    tensors["transposed"] = torch.arange(6.0).reshape(2, 3).T
    tensors["tied"] = tensors["torch.float32"]
    tensors["slice"] = torch.arange(10.0)[3:7]
    write_tensors(tmp_path / "model.safetensors", tensors)
    got = read_tensors(tmp_path, check_finite=False)
    for name, tensor in tensors.items():
        assert got[name].dtype == tensor.dtype, name
        assert torch.equal(got[name].float(), tensor.float()), name
    got["tied"].add_(1)  # what is read can be written to, and shares no memory
    assert not torch.equal(got["tied"], got["torch.float32"])


def test_same_tensors_give_same_bytes_in_any_order(tmp_path: Path) -> None:
    tensors = some_tensors()
    write_tensors(tmp_path / "a", tensors)
    write_tensors(tmp_path / "b", dict(reversed(tensors.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_needs_no_torch_and_agrees_with_torch(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    got = read_tensors(folder, framework="numpy")
    for name, tensor in some_tensors().items():
        np.testing.assert_array_equal(got[name], tensor.float().numpy() if "层" in name else tensor.numpy())
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from zhixing.model_folder import *\n"
        f"folder = Path({str(tmp_path / 'counts')!r})\n"
        "arrays = {'n': np.arange(5, dtype=np.uint32), 't': np.ones((2, 3)).T, 'o': np.array(2.5)}\n"
        "write_folder(folder, tensor_files(arrays), facts={})\n"
        "got = read_tensors(folder, framework='numpy')\n"
        "assert all((got[k] == v).all() and got[k].shape == v.shape for k, v in arrays.items())\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_shards_hold_what_one_file_holds(tmp_path: Path) -> None:
    tensors = some_tensors() | {f"layer.{i}": torch.full((10, 10), float(i)) for i in range(5)}
    files = tensor_files(tensors, shard_bytes=800)
    assert len(files) >= 4
    write_folder(tmp_path / "model", files, facts={})
    got = read_tensors(tmp_path / "model")
    assert got.keys() == tensors.keys()
    assert all(torch.equal(got[name], tensors[name]) for name in tensors)
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text(encoding="utf-8"))
    for name, shard in index["weight_map"].items():  # the library finds every tensor where the index says
        assert torch.equal(load_file(tmp_path / "model" / shard)[name], tensors[name])


def test_a_folder_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="exists"):
        write_folder(folder, {"config.json": "{}"}, facts={})
    assert read_config(folder) == {"model_type": "llama"}
    write_folder(folder, {"config.json": "{}"}, facts={}, replace=True)
    assert sorted(entry.name for entry in folder.iterdir()) == [MANIFEST_NAME, "config.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_publish_into_a_run_leaves_the_run_alone(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("a: 1\n", encoding="utf-8")
    sharded = tensor_files(some_tensors(), shard_bytes=100)
    publish_into(tmp_path, sharded | {"config.json": "{}"}, facts={"seed": 1})
    publish_into(tmp_path, tensor_files(some_tensors()) | {"config.json": "{}"}, facts={"seed": 2})
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == [MANIFEST_NAME, "config.json", "model.safetensors", "recipe.yaml"]
    assert verify_folder(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text("{}\n", encoding="utf-8")  # a run's own files may change
    assert verify_folder(tmp_path) == []
    assert read_tensors(tmp_path).keys() == some_tensors().keys()


def test_a_failed_publish_leaves_the_old_model(tmp_path: Path) -> None:
    publish_into(tmp_path, {"config.json": '{"old": 1}'}, facts={})

    def disk_full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelFolderError, match="No space left"):
        publish_into(tmp_path, {"config.json": '{"new": 1}', "model.safetensors": disk_full}, facts={})
    assert read_config(tmp_path) == {"old": 1}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [MANIFEST_NAME, "config.json"]


def test_a_half_published_folder_is_refused(tmp_path: Path) -> None:
    publish_into(tmp_path, tensor_files(some_tensors()) | {"config.json": '{"old": 1}'}, facts={})
    (tmp_path / "config.json").write_text('{"new": 1}', encoding="utf-8")  # renamed; the manifest not yet
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        read_config(tmp_path)
    assert len(verify_folder(tmp_path)) == 1


def test_a_part_of_a_mixture_is_checked_by_the_manifest_of_the_whole(tmp_path: Path) -> None:
    files = {f"part/{name}": content for name, content in tensor_files(some_tensors()).items()}
    write_folder(tmp_path / "mixture", files | {"config.json": "{}"}, facts={})
    part = tmp_path / "mixture" / "part"
    assert read_tensors(part).keys() == some_tensors().keys()
    weights = part / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelFolderError, match="SHA-256"):
        read_tensors(part)


def test_without_a_manifest_the_reader_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tensors(tmp_path / "model.safetensors", some_tensors())
    with caplog.at_level(logging.INFO):
        read_tensors(tmp_path)
    assert MANIFEST_NAME in caplog.text
    assert len(verify_folder(tmp_path)) == 1


def test_names_and_shapes_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    got = tensor_shapes({"a": torch.zeros(2), "b": np.zeros((3, 1)), "x": torch.zeros(1)})
    check_tensor_names(got, got)
    with pytest.raises(ModelFolderError) as caught:
        check_tensor_names({"a": (2,), "b": (1, 3), "c": (4,)}, got)
    message = str(caught.value)
    assert "missing: c" in message
    assert "not part of the model: x" in message
    assert "b (3, 1) ≠ (1, 3)" in message


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "{",
        '{"a": 1, "a": 2}',
        '{"a": ' * 100_000,
        "[" * 100_000,
        "\udcff",
        '{"a": ' + "1" * 5000 + "}",
    ],
    ids=["list", "cut", "twice", "deep", "deep list", "not UTF-8", "huge number"],
)
def test_a_config_that_is_not_an_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        read_config(tmp_path)


def test_a_config_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(10**12)  # a sparse file: reading it would take the memory of the machine
    with pytest.raises(ModelFolderError, match="1000000000000 bytes"):
        read_config(tmp_path)


def test_a_manifest_of_a_later_version_is_refused_by_its_version(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    path = folder / MANIFEST_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"version": 1', '"version": 9'), encoding="utf-8")
    with pytest.raises(ModelFolderError, match="version 9"):
        read_tensors(folder)


def test_a_changed_fact_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    path = folder / MANIFEST_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"seed": 1', '"seed": 2'), encoding="utf-8")
    with pytest.raises(ModelFolderError, match="its own digest differs"):
        read_manifest(folder)
    assert len(verify_folder(folder)) == 1


def test_model_card_has_the_header_of_the_hub() -> None:
    card = model_card(
        "tiny | llama",
        facts={"seed": 1, "data": "a|b\n# heading <script>"},
        language=["en", "zh"],
        license="apache-2.0",
        datasets=["python-docs"],
        results={"bits_per_byte": (1.52, "bits per byte")},
        limits=["It invents facts."],
    )
    front, body = card.split("---\n")[1:]
    assert yaml.safe_load(front) == {
        "language": ["en", "zh"],
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["zhixing"],
        "datasets": ["python-docs"],
        "metrics": ["bits_per_byte"],
    }
    assert "| bits_per_byte | 1.52 | bits per byte |" in body
    assert "| data | a\\|b # heading &lt;script> |" in body
    assert "license" not in model_card("x", facts={})
