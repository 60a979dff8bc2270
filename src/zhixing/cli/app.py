"""The program ``zhixing``: finds the verb, turns errors into one sentence and an exit code.

A verb lives in ``zhixing.cli.<verb>`` as a Typer application called ``app``; it is imported only when it is
called, so that ``zhixing --help`` is instant.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from zhixing.errors import Stopped, ZhixingError, nearest
from zhixing.language import tr

VERBS = {
    "quickstart": ("train, evaluate and report, in one go", "一条命令完成训练、评估与报告"),
    "corpus": ("read and inspect text", "读取与检查文本"),
    "tokenizer": ("train, inspect and report on tokenizers", "训练、检查分词器并出具报告"),
    "data": ("turn text into token shards; look at batches", "把文本变成词元分片；查看批次"),
    "train": ("train a model from a recipe", "按配方训练模型"),
    "resume": ("continue an interrupted run, exactly", "精确续训被中断的任务"),
    "compare": ("train several models under one budget; which to choose?", "同一预算训练多个模型，看该选哪个"),
    "evaluate": ("measure models on held-out text", "在留出文本上评估模型"),
    "generate": ("write text with a model", "用模型生成文本"),
    "chat": ("talk with a model in the terminal", "在终端中与模型对话"),
    "run": ("do a task with a trained model", "用训练好的模型完成任务"),
    "serve": ("serve models over an OpenAI-compatible API", "以兼容 OpenAI 的接口提供模型服务"),
    "import": ("make a model folder of another program's model", "把其他程序的模型变成模型文件夹"),
    "export": ("write a model for another program, checked there", "把模型写成其他程序的格式并核对"),
    "explain": ("explain an idea of the field: formula, worked example, code", "讲解一个概念：公式、算例与代码"),
    "verify": ("check that the practice computes what the theory says", "验证实践与理论一致"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; always ends by ``SystemExit``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # The tokenizer library brings a client of a model hub along; nothing here may ever dial out.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        _prepare_streams_and_signals()
        try:
            sys.exit(_run(words))
        finally:
            sys.stdout.flush()
    except ZhixingError as error:
        _say(error)
        sys.exit(error.exit_code)
    except Stopped as stop:
        _say(stop)
        sys.exit(stop.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`zhixing … | head`): nothing more to say, and nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}" if error.filename else error)
        sys.exit(1)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        _overview()
        return 0
    if words[0] == "--version":
        from zhixing import __version__

        sys.stdout.write(f"zhixing {__version__}\n")
        return 0
    verb = words[0]
    if verb not in VERBS:
        hint = nearest(verb, VERBS)
        _say(tr(f"unknown verb '{verb}'; {hint}", f"未知命令 '{verb}'；{hint}"))
        return 2
    import typer

    module = importlib.import_module(f"zhixing.cli.{verb}")
    command = typer.main.get_command(module.app)
    command(args=words[1:], prog_name=f"zhixing {verb}")
    return 0


def _overview() -> None:
    out = [
        tr("Usage: zhixing VERB [OPTIONS]", "用法：zhixing 命令 [选项]"),
        "",
        tr(
            "Language models from theory to practice, on your own machine.",
            "语言模型，从理论到实践，全在自己的机器上。",
        ),
        "",
    ]
    out += [f"  {verb:<12}{tr(*meaning)}" for verb, meaning in VERBS.items()]
    out += ["", tr("zhixing VERB --help explains a verb.", "zhixing 命令 --help 查看该命令的说明。"), ""]
    sys.stdout.write("\n".join(out))


def _say(message: object) -> None:
    sys.stderr.write(f"zhixing: {message}\n")


def _prepare_streams_and_signals() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("zhixing").setLevel(logging.INFO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)
