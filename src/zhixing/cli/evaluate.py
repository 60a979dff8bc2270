"""``zhixing evaluate``: models side by side on held-out text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Part(StrEnum):
    """Which held-out documents are used."""

    all = "all"
    fit = "fit"
    report = "report"


def _option(en: str, zh: str) -> Any:
    return typer.Option(help=tr(en, zh))


Models = Annotated[list[Path], typer.Argument(help=tr("model folders", "模型文件夹"), show_default=False)]
Data = Annotated[
    Path | None,
    _option("token shards: a prepared folder or one split", "词元分片：整个数据文件夹或其中一个划分"),
]
Text = Annotated[
    list[str] | None,
    _option("held-out files, folders or globs; repeatable", "留出文本的文件、文件夹或通配符；可重复"),
]
Training = Annotated[
    Path | None,
    _option("shards of the training text: refuse documents in it", "训练文本的分片：拒绝其中出现过的文档"),
]
Stride = Annotated[float, _option("step of the windows, as a fraction of the context", "窗口步幅，占上下文的比例")]
Which = Annotated[
    Part,
    _option("half of the documents; a mixture is fitted on 'fit'", "哪一半文档；混合模型在 fit 上拟合"),
]
Pairs = Annotated[
    list[str] | None,
    _option(
        "rows of source and target for encoder-decoders: files, or a prepared folder; repeatable",
        "供编码器–解码器回答的源与目标：数据行文件，或准备好的文件夹；可重复",
    ),
]
SourceField = Annotated[
    str | None, _option("field of the source, with --pairs [as trained]", "源所在字段，配合 --pairs [同训练时]")
]
TargetField = Annotated[
    str | None, _option("field of the target, with --pairs [as trained]", "目标所在字段，配合 --pairs [同训练时]")
]
NumBeams = Annotated[
    int, typer.Option(min=1, help=tr("beams of the search, with --pairs", "束搜索的束宽，配合 --pairs"))
]
Results = Annotated[Path | None, _option("append each row to this JSONL file", "把每一行结果追加到该 JSONL 文件")]
Seed = Annotated[int, _option("seed of the paired tests", "配对检验的随机种子")]


@app.command(help=tr("Measure models on held-out text.", "在留出文本上评估模型。"))
def evaluate(
    models: Models,
    data: Data = None,
    text: Text = None,
    training: Training = None,
    stride: Stride = 0.5,
    part: Which = Part.all,
    results: Results = None,
    seed: Seed = 0,
    pairs: Pairs = None,
    source_field: SourceField = None,
    target_field: TargetField = None,
    num_beams: NumBeams = 1,
    as_json: JsonFlag = False,
) -> None:
    """Measure models on held-out text, or encoder-decoders on held-out pairs."""
    of_text: dict[str, object] = {"--data": data, "--text": text, "--training": training}
    of_text |= {"--stride": stride != 0.5, "--part": part != Part.all, "--seed": seed != 0}
    of_pairs: dict[str, object] = {
        "--source-field": source_field,
        "--target-field": target_field,
        "--num-beams": num_beams != 1,
    }
    _refuse(of_text if pairs else of_pairs, bool(pairs))
    if pairs:
        from zhixing.evaluation.pairs import evaluate_pairs

        answered = evaluate_pairs(
            models,
            pairs,
            source_field=source_field or "",
            target_field=target_field or "",
            beams=num_beams,
            results=results,
        )
        emit(as_json, answered.as_dict(), answered.render())
        return
    from zhixing.evaluation.run import evaluate as run

    report = run(
        models,
        data=data,
        text=text or (),
        training=training,
        part=part.value,
        stride=stride,
        results=results,
        seed=seed,
    )
    emit(as_json, report.as_dict(), report.render())


def _refuse(given: dict[str, Any], pairs: bool) -> None:
    """Refuse options that have no say in what is asked.

    Raises:
        ConfigError: one was given.
    """
    from zhixing.errors import ConfigError

    if named := ", ".join(name for name, value in given.items() if value):
        raise ConfigError(
            tr(f"{named}: not for --pairs; leave it out", f"{named} 不用于 --pairs；请去掉")
            if pairs
            else tr(f"{named}: only with --pairs", f"{named} 只能与 --pairs 一起使用")
        )
