"""Folders from strangers: no code runs (P1, P2), no file outside is opened (C8), bad weights refused (C9).

The last tests read the program's own source: what could run code from a file must not occur in it.
"""

import ast
import functools
import json
import logging
import os
import pickle
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import save, save_file

import zhixing
from zhixing.errors import ModelFolderError
from zhixing.model_folder import (
    check_tensor_names,
    publish_into,
    read_bytes,
    read_config,
    read_tensors,
    tensor_shapes,
    verify_folder,
    write_folder,
)
from zhixing.model_folder.manifest import FileRecord, Manifest, manifest_text

SOURCE = Path(zhixing.__file__).parent


class Gadget:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


# P1, P2: nothing in a folder can run code


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl", "model.ckpt", "model.pt2", "w.npz"]
)
def test_p1_a_pickle_is_refused_with_advice_and_never_opened(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps(Gadget(marker)))
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"(?s)" + name.replace(".", r"\.") + ".*convert.*safetensors"):
        read_tensors(folder)
    verify_folder(folder)
    assert not marker.exists()
    pickle.loads((folder / name).read_bytes())
    assert marker.exists(), "the gadget does not work, so the test proves nothing"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "MANIFEST.json"])
def test_p1_a_pickle_under_an_innocent_name_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"config.json": "{}", "model.safetensors": save({"a": torch.zeros(1)})}, facts={})
    if name != "MANIFEST.json":
        (folder / "MANIFEST.json").unlink()
    (folder / name).write_bytes(pickle.dumps(Gadget(tmp_path / "marker")))
    with pytest.raises(ModelFolderError, match=name):
        read_config(folder)
        read_tensors(folder)
    assert not (tmp_path / "marker").exists()


def test_p1_a_pickle_beside_good_weights_stays_closed_and_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"model.safetensors": save({"a": torch.zeros(1)})}, facts={})
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Gadget(tmp_path / "marker")))
    assert list(read_tensors(folder)) == ["a"]
    assert "pytorch_model.bin" in verify_folder(folder)[0]
    assert not (tmp_path / "marker").exists()


@pytest.mark.usefixtures("no_network")
def test_p2_a_config_that_asks_for_code_is_read_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modeling_evil.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n", encoding="utf-8")
    config = {
        "model_type": "llama",
        "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"},
        "trust_remote_code": True,
        "text_config": {"auto_map": {"AutoConfig": "someone/else--modeling_evil.Evil"}, "hidden_size": 8},
        "custom_pipelines": [{"impl": "modeling_evil.Evil"}],
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        read = read_config(tmp_path)
    assert read == {"model_type": "llama", "text_config": {"hidden_size": 8}}
    assert "ignored auto_map, custom_pipelines, trust_remote_code" in caplog.text
    assert not (tmp_path / "marker").exists()
    assert "modeling_evil" not in sys.modules


# C8: no file outside the folder is opened


def write_index(folder: Path, weight_map: dict[str, Any]) -> None:
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")


@pytest.mark.parametrize(
    "shard",
    [
        "../outside.safetensors",
        "../../etc/x",
        "sub/../../outside.safetensors",
        "sub/shard.safetensors",
        "{absolute}",
        "..\\outside.safetensors",
        "C:outside.safetensors",
        "..",
        "",
        "shard.safetensors\0",
        " shard.safetensors",
        7,
        None,
        ["shard.safetensors"],
        "x" * 300,
    ],
)
def test_c8_a_shard_name_that_leaves_the_folder_is_refused_before_opening(
    tmp_path: Path, shard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.zeros(1)}, str(tmp_path / "outside.safetensors"))
    absolute = str(tmp_path / "outside.safetensors")
    write_index(folder, {"a": absolute if shard == "{absolute}" else shard})
    opened: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or real(path))  # type: ignore[func-returns-value]
    with pytest.raises(ModelFolderError, match="is not the name of a file in this folder"):
        read_tensors(folder)
    assert opened == ["model.safetensors.index.json"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "MANIFEST.json"])
def test_c8_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"config.json": "{}", "model.safetensors": save({"a": torch.zeros(1)})}, facts={})
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ModelFolderError, match="is a link to"):
        read_config(folder)
        read_tensors(folder)
    assert verify_folder(folder)


def test_c8_a_linked_shard_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.zeros(1)}, str(tmp_path / "outside.safetensors"))
    (folder / "shard.safetensors").symlink_to("../outside.safetensors")
    write_index(folder, {"a": "shard.safetensors"})
    with pytest.raises(ModelFolderError, match="is a link to"):
        read_tensors(folder)


def test_c8_links_within_the_folder_and_into_the_hub_cache_are_followed(tmp_path: Path) -> None:
    cache = tmp_path / "models--someone--model"
    folder = cache / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    (cache / "blobs").mkdir()
    save_file({"a": torch.ones(1)}, str(cache / "blobs" / ("b" * 64)))
    (folder / "model.safetensors").symlink_to(f"../../blobs/{'b' * 64}")
    assert read_tensors(folder)["a"].item() == 1
    (folder / "again.safetensors").symlink_to("real.safetensors")
    save_file({"a": torch.zeros(1)}, str(folder / "real.safetensors"))
    assert read_tensors(folder, stem="again")["a"].item() == 0
    (cache / "blobs" / "notes").write_text("{}", encoding="utf-8")
    (folder / "config.json").symlink_to("../../blobs/notes")
    with pytest.raises(ModelFolderError, match="is a link to"):
        read_config(folder)


def test_c8_names_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    write_index(tmp_path, {"a": "Shard.safetensors", "b": "shard.safetensors"})
    with pytest.raises(ModelFolderError, match="upper and lower case"):
        read_tensors(tmp_path)
    for write in (write_folder, publish_into):
        with pytest.raises(ModelFolderError, match="upper and lower case"):
            write(tmp_path / "new", {"a.txt": "", "A.txt": ""}, facts={})
        with pytest.raises(ModelFolderError, match="not the name of a file"):
            write(tmp_path / "new", {"../a.txt": ""}, facts={})
        with pytest.raises(ModelFolderError, match="by the program itself"):
            write(tmp_path / "new", {"MANIFEST.json": ""}, facts={})
    assert not (tmp_path / "new").exists()


def test_c8_a_manifest_cannot_name_a_file_outside(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    manifest = Manifest({"../secret": FileRecord(1, "0" * 64)})
    (tmp_path / "MANIFEST.json").write_text(manifest_text(manifest), encoding="utf-8")
    with pytest.raises(ModelFolderError, match="not the name of a file"):
        read_bytes(tmp_path, "config.json")
    assert "not the name of a file" in verify_folder(tmp_path)[0]


def test_c8_a_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ModelFolderError, match="not a regular file"):
        read_tensors(tmp_path)


def test_c8_a_file_added_after_the_manifest_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"config.json": "{}"}, facts={})
    save_file({"a": torch.zeros(1)}, str(tmp_path / "model" / "model.safetensors"))
    with pytest.raises(ModelFolderError, match="is not listed"):
        read_tensors(tmp_path / "model")


# C9 and malformed safetensors


def container(header: str | bytes, body: bytes = b"") -> bytes:
    data = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(data)) + data + body


def entry(dtype: str = "F32", shape: str = "[1]", offsets: str = "[0,4]") -> str:
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


MALFORMED = {
    "empty": b"",
    "four bytes": b"abcd",
    "header length 2^63": struct.pack("<Q", 2**63) + b"{}",
    "header longer than file": struct.pack("<Q", 100) + b"{}",
    "not JSON": container("not JSON"),
    "a list": container("[]"),
    "not UTF-8": container(b'{"\xff": 1}'),
    "nested deeply": container('{"a":' * 100_000),
    "unknown dtype": container(f'{{"a":{entry("F99")}}}', b"\0" * 4),
    "offsets past the end": container(f'{{"a":{entry(offsets="[0,400]")}}}', b"\0" * 4),
    "offsets backwards": container(f'{{"a":{entry(offsets="[4,0]")}}}', b"\0" * 4),
    "overlapping": container(f'{{"a":{entry()},"b":{entry()}}}', b"\0" * 4),
    "hole": container(f'{{"a":{entry()},"b":{entry(offsets="[8,12]")}}}', b"\0" * 12),
    "shape overflow": container(f'{{"a":{entry(shape="[4294967296,4294967296]")}}}', b"\0" * 4),
    "negative shape": container(f'{{"a":{entry(shape="[-1]")}}}', b"\0" * 4),
    "truncated body": save({"a": torch.zeros(100)})[:-7],
    "bytes after the end": save({"a": torch.zeros(100)}) + b"tail",
    "duplicate name": container(f'{{"a":{entry()},"a":{entry(offsets="[4,8]")}}}', b"\0" * 8),
}


@pytest.mark.parametrize("framework", ["torch", "numpy"])
@pytest.mark.parametrize("name", MALFORMED)
def test_c9_malformed_weights_are_refused(tmp_path: Path, name: str, framework: Any) -> None:
    (tmp_path / "model.safetensors").write_bytes(MALFORMED[name])
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        read_tensors(tmp_path, framework=framework)


@pytest.mark.parametrize("framework", ["torch", "numpy"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_c9_weights_that_are_not_finite_are_refused_by_name(
    tmp_path: Path, dtype: torch.dtype, value: float, framework: Any
) -> None:
    bad = torch.zeros(1000, dtype=dtype)
    bad[777] = value
    save_file({"good.weight": torch.zeros(3), "bad.weight": bad}, str(tmp_path / "model.safetensors"))
    with pytest.raises(ModelFolderError, match=r"NaN or infinite values in bad\.weight"):
        read_tensors(tmp_path, framework=framework)
    assert len(read_tensors(tmp_path, framework=framework, check_finite=False)) == 2


def test_c9_float8_nan_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.tensor([float("nan")]).to(torch.float8_e4m3fn)}, str(tmp_path / "model.safetensors"))
    with pytest.raises(ModelFolderError, match="values in a"):
        read_tensors(tmp_path)


def test_c9_one_flipped_byte_is_found(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"model.safetensors": save({"a": torch.zeros(100)})}, facts={})
    path = tmp_path / "model" / "model.safetensors"
    whole = path.read_bytes()
    for place in (9, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelFolderError, match="SHA-256"):
            read_tensors(tmp_path / "model")


@pytest.mark.parametrize("index", ['{"weight_map": {}}', '{"weight_map": []}', "[]", "{}"])
def test_c9_an_index_without_a_map_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    with pytest.raises(ModelFolderError, match="weight_map"):
        read_tensors(tmp_path)


def test_c9_shards_and_index_that_differ_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1), "b": torch.zeros(1)}, str(tmp_path / "one.safetensors"))
    save_file({"b": torch.ones(1)}, str(tmp_path / "two.safetensors"))
    for weight_map in (
        {"a": "one.safetensors", "b": "two.safetensors"},  # b stands in both
        {"a": "one.safetensors"},  # b is not listed
        {"a": "one.safetensors", "b": "one.safetensors", "c": "one.safetensors"},  # c is not there
    ):
        write_index(tmp_path, weight_map)
        with pytest.raises(ModelFolderError, match="differ in their tensors"):
            read_tensors(tmp_path)
    write_index(tmp_path, {"a": "one.safetensors", "b": "one.safetensors", "c": "gone.safetensors"})
    with pytest.raises(ModelFolderError, match=r"one\.safetensors|gone\.safetensors"):
        read_tensors(tmp_path)


def test_c9_names_and_shapes_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2), "x": torch.zeros(1)}, str(tmp_path / "model.safetensors"))
    expected = {"a": (3,)} | {f"layer.{i}": (1,) for i in range(20)}
    with pytest.raises(ModelFolderError) as caught:
        check_tensor_names(expected, tensor_shapes(read_tensors(tmp_path)))
    for part in ("a (2,) ≠ (3,)", "layer.7, and 12 more", "not part of the model: x"):
        assert part in str(caught.value)


# The program's own source


@functools.cache
def source_nodes() -> list[tuple[str, ast.AST]]:
    """Return every node of every source file, each with its place (``file:line``)."""
    return [
        (f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', '?')}", node)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]


FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {"torch.load", "torch.save", "os.system", "yaml.unsafe_load"}


def forbidden(node: ast.AST) -> str | None:
    """Return what is wrong with one node of the source, if anything."""
    match node:
        case ast.Import(names=names) if bad := FORBIDDEN_MODULES & {name.name.split(".")[0] for name in names}:
            return f"import {bad}"
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FORBIDDEN_MODULES:
            return f"from {module} import"
        case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
            return f"{name}("
        case ast.keyword(arg="trust_remote_code" | "allow_pickle" | "shell", value=ast.Constant(value=True)):
            return f"{node.arg}=True"
        case ast.Call(func=ast.Attribute() as function) if ast.unparse(function) in FORBIDDEN_ATTRIBUTES:
            return ast.unparse(function)
    return None


def without_encoding(node: ast.AST) -> bool:
    """Return whether the node reads or writes text in whatever encoding the machine happens to have."""
    if not isinstance(node, ast.Call) or any(k.arg in ("encoding", None) for k in node.keywords):
        return False
    called = ast.unparse(node.func)
    if called.endswith((".read_text", ".write_text")):
        return True
    arguments = [*node.args, *(k.value for k in node.keywords if k.arg == "mode")]
    modes = [a.value for a in arguments if isinstance(a, ast.Constant) and is_mode(a.value)]
    if called == "open":
        return not any("b" in mode for mode in modes)
    if called in ("gzip.open", "bz2.open", "lzma.open"):
        return any("t" in mode for mode in modes)
    if called.endswith(".open") and called != "os.open":
        return any("b" not in mode for mode in modes) or not (node.args or node.keywords)
    return False


def is_mode(value: object) -> bool:
    return isinstance(value, str) and value != "" and set(value) <= set("rwaxbt+")


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "eval(text)",
        "exec(text)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert any(forbidden(node) for node in ast.walk(ast.parse(line)))


def test_the_source_has_nothing_that_runs_code_from_a_file() -> None:
    assert [f"{place}: {problem}" for place, node in source_nodes() if (problem := forbidden(node))] == []
    assert len(source_nodes()) > 10_000


def test_the_source_names_the_encoding_of_every_text_file() -> None:
    bad = "open(p)|open(p, 'w')|p.read_text()|p.write_text(t)|gzip.open(p, 'rt')|p.open()|p.open('w')"
    for line in bad.split("|"):
        assert any(without_encoding(node) for node in ast.walk(ast.parse(line))), line
    good = "open(p, 'rb')|open(p, encoding='utf-8')|os.open(p, 1)|p.open('rb')|gzip.open(p)|open(p, mode='ab')"
    for line in good.split("|"):
        assert not any(without_encoding(node) for node in ast.walk(ast.parse(line))), line
    assert [place for place, node in source_nodes() if without_encoding(node)] == []
