"""``zhixing run TASK``: what a trained model is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(
    rich_markup_mode=None,
    help=tr("Do a task with a trained model.", "用训练好的模型完成任务。"),
    add_completion=False,
    no_args_is_help=True,
)

Source = Annotated[
    Path,
    typer.Argument(
        help=tr(
            "folder of word vectors, or a .vec, .txt or .bin file of them; for similarity also that of a BERT",
            "词向量文件夹，或 .vec、.txt、.bin 文件；similarity 也可用 BERT 文件夹",
        )
    ),
]
Words = Annotated[list[str] | None, typer.Argument(help=tr("the words", "词"), show_default=False)]
File = Annotated[Path | None, typer.Option("--file", help=tr("judge the vectors by this file", "用该文件评估词向量"))]
Number = Annotated[int, typer.Option("--n", min=1, help=tr("words to show", "显示的词数"))]


@app.command(
    help=tr(
        "How alike two words are, or a sentence and others; or, with --file, how well the vectors rank its pairs.",
        "两个词、或一句与其他句有多相似；或用 --file 评估向量对其中各对的排序。",
    )
)
def similarity(source: Source, words: Words = None, file: File = None, as_json: JsonFlag = False) -> None:
    """Print a cosine, or a rank correlation."""
    from zhixing.applications import sentences, vectors

    if sentences.holds_encoder(source):
        _similar_sentences(source, words, file, as_json)
        return
    given = _checked(words, file, 2)
    model = vectors.open_vectors(source)
    if file is None:
        cosine = vectors.similarity(model, given[0], given[1])
        emit(as_json, {"words": given, "similarity": cosine}, f"{cosine:.4f}")
        return
    found = vectors.similarity_of_file(model, file)
    emit(as_json, found.as_dict(), _pairs_text(found.spearman, found.interval, found.covered, found.total))


@app.command(
    help=tr(
        "What is to C as B is to A; or, with --file, how many of its analogies the vectors answer.",
        "B 之于 A，如同何词之于 C；或用 --file 评估能答对多少类比题。",
    )
)
def analogy(
    source: Source, words: Words = None, file: File = None, number: Number = 5, as_json: JsonFlag = False
) -> None:
    """Print the best answers, or the accuracy."""
    from zhixing.applications import vectors

    given = _checked(words, file, 3)
    model = vectors.open_vectors(source)
    if file is None:
        found = vectors.analogy(model, given[0], given[1], given[2], number)
        emit(as_json, {"words": given, "answers": _pairs(found)}, _table(found))
        return
    result = vectors.analogies_of_file(model, file)
    lines = [_accuracy(name, part) for name, part in result.sections.items()]
    emit(as_json, result.as_dict(), "\n".join([*lines, _accuracy(tr("all", "合计"), result)]))


@app.command(help=tr("The words nearest to a word.", "与一个词最相近的词。"))
def neighbours(source: Source, word: str, number: Number = 10, as_json: JsonFlag = False) -> None:
    """Print words and cosines, the nearest first."""
    from zhixing.applications import vectors

    found = vectors.neighbours(vectors.open_vectors(source), word, number)
    emit(as_json, {"word": word, "neighbours": _pairs(found)}, _table(found))


@app.command(
    "fill-mask",
    help=tr(
        "What may stand at the mask token of a text; a BERT of this project calls it <|mask|>.",
        "文本中掩码处可能是什么；本项目的 BERT 以 <|mask|> 为掩码词元。",
    ),
)
def fill_mask(
    model: Annotated[Path, typer.Argument(help=tr("folder of a masked model", "掩码模型文件夹"))],
    text: Annotated[str, typer.Argument(help=tr("with one mask or more", "含一处或多处掩码"))],
    top_k: Annotated[int, typer.Option(min=1, help=tr("fillings to show", "显示的候选数"))] = 5,
    as_json: JsonFlag = False,
) -> None:
    """Print the likeliest fillings of each mask."""
    from zhixing.generation.pipeline import pipeline

    found = pipeline("fill-mask", model=model)(text, top_k=top_k)
    masks = found if isinstance(found[0], list) else [found]
    lines = [f"{one['score']:7.4f}  {one['token_str']!r}" for mask in masks for one in mask]
    emit(as_json, {"text": text, "masks": masks}, "\n".join(lines))


@app.command(
    help=tr(
        "What an encoder-decoder answers to each source: a translation, a summary, whatever its targets were.",
        "编码器–解码器对每个源的回答：译文、摘要，或训练时的其他目标。",
    ),
)
def text2text(
    model: Annotated[Path, typer.Argument(help=tr("folder of an encoder-decoder", "编码器–解码器文件夹"))],
    sources: Annotated[list[str] | None, typer.Argument(help=tr("texts", "文本"), show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help=tr("a text file with a source on each line", "每行一个源的文本文件"))
    ] = None,
    num_beams: Annotated[
        int, typer.Option(min=1, help=tr("beams of the search; 1: greedy", "束搜索的束宽；1 为贪心"))
    ] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Print the most probable answer to each source, a line each."""
    from zhixing.generation.pipeline import pipeline

    given = _sources(sources, file)
    found = pipeline("text2text-generation", model=model)(given, do_sample=False, num_beams=num_beams)
    answers = [{"source": s, "target": one[0]["generated_text"]} for s, one in zip(given, found, strict=True)]
    emit(as_json, {"answers": answers}, "\n".join(answer["target"] for answer in answers))


def _sources(sources: list[str] | None, file: Path | None) -> list[str]:
    """Return the texts given, or the lines of a file.

    Raises:
        ConfigError: both are given, or neither.
        DataError: the file cannot be read, or has no text.
    """
    from zhixing.errors import ConfigError, DataError

    if (file is None) == (not sources):
        raise ConfigError(tr("give either sources, or --file", "请给出源文本，或给出 --file（二者取一）"))
    if file is None:
        return sources or []
    try:
        lines = file.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(tr(f"cannot read {file}: {error}", f"无法读取 {file}：{error}")) from error
    blank = next((number for number, line in enumerate(lines, start=1) if not line.strip()), None)
    if blank:
        raise DataError(tr(f"{file}:{blank}: no source stands there", f"{file}:{blank}：此行没有源文本"))
    return lines


def _similar_sentences(source: Path, texts: list[str] | None, file: Path | None, as_json: bool) -> None:
    """Print the cosines of the first text with the others, the nearest first; or a rank correlation."""
    from zhixing.applications import sentences
    from zhixing.models.sentence_embedding import open_sentence_encoder

    given = _checked(texts, file, 2, more=True)
    encoder = open_sentence_encoder(source)
    if file is not None:
        result = sentences.similarity_of_file(encoder, file)
        emit(as_json, result.as_dict(), _pairs_text(result.spearman, result.interval, result.covered, result.total))
        return
    found = sentences.nearest(encoder, given[0], given[1:])
    payload: dict[str, Any] = {"text": given[0], "similar": [{"text": t, "similarity": c} for t, c in found]}
    if len(found) == 1:
        payload |= {"words": given, "similarity": found[0][1]}
    emit(as_json, payload, f"{found[0][1]:.4f}" if len(found) == 1 else _table(found))


def _checked(words: list[str] | None, file: Path | None, number: int, more: bool = False) -> list[str]:
    """Return the words, ``number`` of them (or ``more``); none where a file is given instead."""
    from zhixing.errors import ConfigError

    fits = not words or len(words) == number or (more and len(words) > number)
    if (file is None) == (not words) or not fits:
        raise ConfigError(
            tr("give either two texts or more, or --file", "请给出两段或更多文本，或给出 --file（二者取一）")
            if more
            else tr(f"give either {number} words, or --file", f"请给出 {number} 个词，或给出 --file（二者取一）")
        )
    return words or []


def _pairs(found: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"word": word, "similarity": cosine} for word, cosine in found]


def _table(found: list[tuple[str, float]]) -> str:
    return "\n".join(f"{cosine:7.4f}  {word}" for word, cosine in found)


def _range(interval: tuple[float, float] | None, scale: float = 1) -> str:
    return f" ({interval[0] * scale:.3g} … {interval[1] * scale:.3g})" if interval else ""


def _pairs_text(spearman: float | None, interval: tuple[float, float] | None, covered: int, total: int) -> str:
    value = "–" if spearman is None else f"{spearman:.4f}{_range(interval)}"
    return tr(
        f"Spearman {value}, {covered} of {total} pairs have vectors",
        f"斯皮尔曼 {value}，{total} 个词对中 {covered} 个有向量",
    )


def _accuracy(name: str, part: Any) -> str:
    value = "–" if part.accuracy is None else f"{100 * part.accuracy:.1f} %{_range(part.interval, 100)}"
    return tr(
        f"{name}: {value}, {part.right} right of {part.covered} with vectors, {part.total} in the file",
        f"{name}：{value}，有向量的 {part.covered} 题中答对 {part.right} 题，文件共 {part.total} 题",
    )
