"""``zhixing generate``: continue prompts with a model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

if TYPE_CHECKING:
    from zhixing.generation.sequence import Prompt
    from zhixing.generation.settings import GenerationSettings
    from zhixing.models.load import Loaded

app = typer.Typer(rich_markup_mode=None, help=tr("Write text with a model.", "用模型生成文本。"), add_completion=False)

Folder = Annotated[Path, typer.Argument(help=tr("model folder", "模型文件夹"))]
Prompts = Annotated[
    list[str] | None,
    typer.Argument(help=tr("prompts; none: standard input is one prompt", "提示；不给则标准输入为一个提示")),
]
File = Annotated[
    list[Path] | None,
    typer.Option("--file", help=tr("a text file that is one prompt", "作为一个提示的文本文件")),
]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(help=tr("most tokens to write [128]", "最多生成的词元数 [128]"), show_default=False),
]
ToTheEnd = Annotated[
    bool, typer.Option("--until-full", help=tr("write until the context is full", "生成直到上下文用满"))
]
Temperature = Annotated[
    float | None,
    typer.Option(help=tr("0: the most probable token [1.0]", "0 表示取概率最大的词元 [1.0]"), show_default=False),
]
TopK = Annotated[int | None, typer.Option(help=tr("only the k best tokens [off]", "只取最好的 k 个词元 [关]"))]
TopP = Annotated[
    float | None,
    typer.Option(help=tr("only the best tokens up to this sum [off]", "只取概率和到此值的词元 [关]")),
]
MinP = Annotated[
    float | None,
    typer.Option(help=tr("only tokens this fraction of the best [off]", "只取概率不低于最佳此比例的词元 [关]")),
]
RepetitionPenalty = Annotated[
    float | None, typer.Option(help=tr("above 1: repeat less [1.0]", "大于 1 减少重复 [1.0]"))
]
PresencePenalty = Annotated[float | None, typer.Option(help=tr("nats, -2 to 2 [0]", "奈特，-2 到 2 [0]"))]
FrequencyPenalty = Annotated[float | None, typer.Option(help=tr("nats, -2 to 2 [0]", "奈特，-2 到 2 [0]"))]
Stop = Annotated[
    list[str] | None,
    typer.Option(help=tr("a string that ends the text; repeatable", "结束文本的字符串；可重复给出")),
]
Seed = Annotated[
    int | None,
    typer.Option(help=tr("same seed, same text [drawn and shown]", "种子相同则文本相同 [抽取并显示]")),
]
Number = Annotated[int | None, typer.Option("--n", help=tr("texts for each prompt [1]", "每个提示的文本数 [1]"))]
LogProbs = Annotated[
    int | None,
    typer.Option(help=tr("alternatives for each token, with --json", "每个词元的候选数，配合 --json")),
]
StopAtSeparator = Annotated[
    bool | None,
    typer.Option(
        "--stop-at-separator/--no-stop-at-separator",
        help=tr("end at the end of the document [yes]", "在文档结束处停止 [是]"),
    ),
]
Stream = Annotated[
    bool | None,
    typer.Option(
        "--stream/--no-stream",
        help=tr("show text as it is written [on for one text]", "边写边显示 [单个文本时开启]"),
    ),
]


@app.command(
    help=tr(
        "Continue each prompt. Options not given come from the model's generation_config.json.",
        "续写每个提示。未给出的选项取自模型的 generation_config.json。",
    )
)
def generate(
    folder: Folder,
    prompts: Prompts = None,
    file: File = None,
    max_new_tokens: MaxNewTokens = None,
    until_full: ToTheEnd = False,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    presence_penalty: PresencePenalty = None,
    frequency_penalty: FrequencyPenalty = None,
    stop: Stop = None,
    seed: Seed = None,
    n: Number = None,
    logprobs: LogProbs = None,
    stop_at_separator: StopAtSeparator = None,
    stream: Stream = None,
    as_json: JsonFlag = False,
) -> None:
    """Read the prompts and the options, open the model, write."""
    given = {
        "max_new_tokens": max_new_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p,
        "min_p": min_p, "repetition_penalty": repetition_penalty, "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty, "stop": stop or None, "seed": seed, "n": n,
        "logprobs": logprobs, "stop_at_separator": stop_at_separator,
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if until_full:
        changes["max_new_tokens"] = None
    texts = _read_prompts(prompts or [], file or [])
    loaded, settings = open_model(folder, changes)
    read: Sequence[Prompt] = texts
    before = texts
    if loaded.facts.get("pairs"):  # it answers, and continues nothing: the source is not written out again
        from zhixing.generation.text2text import answering

        loaded, read, longest = answering(loaded, texts)
        if max_new_tokens is None:
            settings = settings.replace(max_new_tokens=longest)
        before = [""] * len(texts)
    if stream is None:
        stream = len(texts) * settings.n == 1 and sys.stdout.isatty()
    if stream and not as_json:
        _show_streams(loaded, read, settings, before)
    else:
        _show_all(loaded, read, settings, before, texts if as_json else None)


def open_model(folder: Path, changes: dict[str, Any]) -> tuple[Loaded, GenerationSettings]:
    """Return the model, and its own settings with those given on the command line."""
    from zhixing.generation.settings import load_generation_config, make_settings

    make_settings(changes)  # a wrong option is said before a model is read
    from zhixing.models.load import load

    loaded = load(folder)
    return loaded, make_settings(changes, load_generation_config(loaded.path))


def _read_prompts(prompts: list[str], files: Iterable[Path]) -> list[str]:
    from zhixing.errors import DataError

    texts = list(prompts)
    for path in files:
        try:
            texts.append(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(tr(f"cannot read the prompt {path}: {error}", f"无法读取提示 {path}：{error}")) from error
    if texts:
        return texts
    try:
        return [sys.stdin.buffer.read().decode("utf-8-sig")]
    except UnicodeDecodeError as error:
        raise DataError(tr(f"standard input is not UTF-8: {error}", f"标准输入不是 UTF-8：{error}")) from error


def show(text: str) -> None:
    """Write text at once; on a terminal without its control characters."""
    from zhixing.generation.terminal import printable

    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _show_streams(
    loaded: Loaded, prompts: Sequence[Prompt], settings: GenerationSettings, before: Sequence[str]
) -> None:
    """Write each text behind what stands before it, as it comes."""
    from zhixing.errors import ConfigError
    from zhixing.generation.generate import stream

    if settings.n != 1:
        raise ConfigError(
            tr(
                "--stream writes one text for each prompt: drop --n",
                "--stream 每个提示只生成一个文本：请去掉 --n",
            )
        )
    for prompt, shown in zip(prompts, before, strict=True):
        show(shown)
        for event in stream(loaded.model, loaded.tokenizer, prompt, settings):
            show(event.text)
            if event.generation is not None:
                show("\n")
                _report_seed(event.generation.seed, settings)


def _show_all(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    settings: GenerationSettings,
    before: Sequence[str],
    named: Sequence[str] | None,
) -> None:
    """Write all texts behind what stands before them; ``named``: as JSON, each with its prompt's own words."""
    from zhixing.generation.generate import generate as write

    texts = write(loaded.model, loaded.tokenizer, prompts, settings)
    if named is not None:
        entries = [asdict(text) | {"prompt": named[text.prompt_index]} for text in texts]
        emit(True, {"texts": entries, "settings": settings.model_dump(mode="json")}, "")
        return
    for index, text in enumerate(texts):
        shown = before[text.prompt_index]
        show(("\n" if index and shown else "") + shown + text.text + "\n")
        _report_seed(text.seed, settings)


def _report_seed(seed: int, settings: GenerationSettings) -> None:
    """Say which seed repeats the text, where the user did not choose it."""
    if settings.seed is None and not settings.greedy:
        sys.stderr.write(tr(f"(again: --seed {seed})\n", f"（重现：--seed {seed}）\n"))
