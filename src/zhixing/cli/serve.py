"""``zhixing serve``: one or several models over an OpenAI-compatible API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(
    rich_markup_mode=None,
    help=tr("Serve models over an OpenAI-compatible API.", "以兼容 OpenAI 的接口提供模型服务。"),
    add_completion=False,
)

Folders = Annotated[list[Path], typer.Argument(help=tr("model folders", "模型文件夹"), metavar="DIR...")]
Host = Annotated[
    str,
    typer.Option(help=tr("address; one that others can reach needs a key", "监听地址；他人可访问的地址必须有密钥")),
]
Port = Annotated[int, typer.Option(help=tr("port; 0 picks a free one", "端口；0 表示自动选择"), min=0, max=65535)]
KeyFile = Annotated[
    str | None,
    typer.Option(
        "--api-key-file",
        help=tr(
            "file with the key clients must send (else ZHIXING_API_KEY)",
            "含客户端密钥的文件（否则取 ZHIXING_API_KEY）",
        ),
    ),
]
Name = Annotated[str | None, typer.Option(help=tr("the model's name [the folder's]", "模型名 [文件夹名]"))]
Slots = Annotated[int, typer.Option(help=tr("texts written at the same time", "同时生成的文本数"), min=1, max=256)]
Queue = Annotated[int, typer.Option(help=tr("texts that may wait; more get 429", "最多排队的文本数"), min=0, max=4096)]
Drain = Annotated[
    float,
    typer.Option(help=tr("seconds for running requests at shutdown", "退出时等待现有请求的秒数"), min=0),
]
Timeout = Annotated[float, typer.Option(help=tr("seconds a request may take", "单个请求的最长秒数"), min=1)]


@app.command(
    help=tr(
        "Serve until Ctrl-C; --json prints the address and the names once the server listens.",
        "提供服务，直至 Ctrl-C；加 --json 时，开始监听后输出地址与模型名。",
    )
)
def serve(
    folders: Folders,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key_file: KeyFile = None,
    name: Name = None,
    slots: Slots = 8,
    queue: Queue = 64,
    drain_seconds: Drain = 30.0,
    request_seconds: Timeout = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Serve until Ctrl-C; --json prints the address and the names once the server listens."""
    _need_serving_libraries()
    from zhixing.serving.auth import check_exposure, read_key
    from zhixing.serving.folders import model_names, open_models
    from zhixing.serving.metrics import Metrics
    from zhixing.serving.server import Server
    from zhixing.serving.settings import server_settings

    settings = server_settings(
        host=host,
        port=port,
        slots=slots,
        queue=queue,
        drain_seconds=drain_seconds,
        request_seconds=request_seconds,
    )
    key = read_key(api_key_file)
    # Before the models are loaded: a wrong address should not cost a minute.
    check_exposure(host, key)
    names = model_names(folders, name)
    metrics = Metrics(names)
    server = Server(open_models(folders, names, settings, metrics), metrics, settings, key)
    code = server.serve_until_stopped(lambda: _announce(as_json, server.url, names))
    raise typer.Exit(code)


def _announce(as_json: bool, url: str, names: list[str]) -> None:
    example: dict[str, Any] = {"url": url, "models": names}
    human = tr(
        f"serving {', '.join(names)} at {url}/v1 (Ctrl-C ends)\n"
        f"try: curl {url}/v1/completions -H 'content-type: application/json' "
        f'-d \'{{"model": "{names[0]}", "prompt": "Once", "max_tokens": 40}}\'',
        f"正在 {url}/v1 提供 {', '.join(names)}（Ctrl-C 结束）\n"
        f"试试：curl {url}/v1/completions -H 'content-type: application/json' "
        f'-d \'{{"model": "{names[0]}", "prompt": "从前", "max_tokens": 40}}\'',
    )
    emit(as_json, example, human)
    sys.stdout.flush()


def _need_serving_libraries() -> None:
    from importlib.util import find_spec

    from zhixing.errors import MissingExtraError

    for library in ("fastapi", "uvicorn", "prometheus_client"):
        if find_spec(library) is None:
            raise MissingExtraError(library, "serve", "zhixing serve")
