"""The model folder: the one artefact in which every model is kept, from n-gram to Transformer.

It is the Hugging Face layout (``config.json``, ``model.safetensors``, ``tokenizer.json``, ``README.md``, ...)
plus ``MANIFEST.json``, which holds the size and SHA-256 of every file and the facts that produced them.
Weights are safetensors only; no pickle is ever opened, and nothing in a folder can run code.
"""

from zhixing.model_folder.card import model_card
from zhixing.model_folder.durable import Content
from zhixing.model_folder.folder import publish_into, verify_folder, write_folder
from zhixing.model_folder.manifest import MANIFEST_NAME, Manifest, read_manifest
from zhixing.model_folder.reading import read_bytes, read_config, read_json
from zhixing.model_folder.tensors import (
    check_tensor_names,
    read_tensors,
    tensor_files,
    tensor_shapes,
    write_tensors,
)

__all__ = [
    "MANIFEST_NAME",
    "Content",
    "Manifest",
    "check_tensor_names",
    "model_card",
    "publish_into",
    "read_bytes",
    "read_config",
    "read_json",
    "read_manifest",
    "read_tensors",
    "tensor_files",
    "tensor_shapes",
    "verify_folder",
    "write_folder",
    "write_tensors",
]
