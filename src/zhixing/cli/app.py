"""The program ``zhixing``: finds the verb, turns errors into one sentence and an exit code.

Verbs are imported only when they are called, so that ``zhixing --help`` is instant.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from zhixing.errors import ZhixingError
from zhixing.language import tr

VERBS = {
    "quickstart": tr("train, evaluate and report in one go", "一条命令完成训练、评估与报告"),
    "corpus": tr("read and inspect text", "读取与检查文本"),
    "tokenizer": tr("train, inspect and report tokenizers", "训练、检查分词器并出具报告"),
    "data": tr("turn text into token shards; show batches", "把文本变成词元分片；查看批次"),
    "train": tr("train a model from a recipe", "按配方训练模型"),
    "resume": tr("continue an interrupted run exactly", "精确续训被中断的任务"),
    "evaluate": tr("measure models on held-out text", "在留出文本上评估模型"),
    "generate": tr("write text with a model", "用模型生成文本"),
    "chat": tr("talk with a model in the terminal", "在终端中与模型对话"),
    "serve": tr("serve a model over an OpenAI-compatible API", "以兼容 OpenAI 的接口提供模型服务"),
}
"""Every verb lives in ``zhixing.cli.<verb>`` as a Typer application called ``app``."""
