"""``zhixing chat``: talk with a model in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zhixing.cli.generate import open_model, show
from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

if TYPE_CHECKING:
    from zhixing.generation.chat import Conversation

app = typer.Typer(
    rich_markup_mode=None, help=tr("Talk with a model in the terminal.", "在终端中与模型对话。"), add_completion=False
)

Folder = Annotated[Path, typer.Argument(help=tr("model folder", "模型文件夹"))]
System = Annotated[str | None, typer.Option(help=tr("what the conversation begins with", "对话开头的系统消息"))]
DropOldest = Annotated[
    bool,
    typer.Option("--drop-oldest", help=tr("when full, forget the oldest turns", "上下文满时忘记最早的轮次")),
]
MaxNewTokens = Annotated[int | None, typer.Option(help=tr("most tokens of a reply", "每次回复最多的词元数"))]
Temperature = Annotated[float | None, typer.Option(help=tr("0: the most probable token", "0 表示取概率最大的词元"))]
TopP = Annotated[float | None, typer.Option(help=tr("only the best tokens up to this sum", "只取概率和到此值的词元"))]
RepetitionPenalty = Annotated[float | None, typer.Option(help=tr("above 1: repeat less", "大于 1 减少重复"))]
Seed = Annotated[int | None, typer.Option(help=tr("same seed, same replies", "种子相同则回复相同"))]


@app.command(
    help=tr(
        "Type a line, read the reply; an empty line leaves. --json prints the conversation at the end.",
        "输入一行，阅读回复；空行退出。--json 在结束时输出整个对话。",
    )
)
def chat(
    folder: Folder,
    system: System = None,
    drop_oldest: DropOldest = False,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    repetition_penalty: RepetitionPenalty = None,
    seed: Seed = None,
    as_json: JsonFlag = False,
) -> None:
    """Open the model and hold a conversation with it."""
    given = {
        "max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p,
        "repetition_penalty": repetition_penalty, "seed": seed,
    }  # fmt: skip
    loaded, settings = open_model(folder, {name: value for name, value in given.items() if value is not None})
    from zhixing.generation.chat import Conversation

    if loaded.chat_template is not None:
        settings = settings.replace(stop_ids=(*settings.stop_ids, loaded.chat_template.turn_end_id))
    conversation = Conversation(
        loaded.model, loaded.tokenizer, loaded.chat_template, settings, system=system, drop_oldest=drop_oldest
    )
    _talk(conversation, as_json)
    if as_json:
        emit(True, {"messages": [dict(message) for message in conversation.messages]}, "")


def _talk(conversation: Conversation, as_json: bool) -> None:
    from zhixing.errors import ContextLengthError

    while text := _ask():
        try:
            for event in conversation.say(text):
                if not as_json:
                    show(event.text)
        except ContextLengthError as error:
            sys.stderr.write(f"{error} (--drop-oldest)\n")
            continue
        if not as_json:
            show("\n")


def _ask() -> str:
    """Return the next line; the prompt sign goes to standard error: standard output holds only replies."""
    if sys.stdin.isatty():
        sys.stderr.write("> ")
        sys.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")
