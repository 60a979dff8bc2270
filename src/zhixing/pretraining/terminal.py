"""A batch on the terminal, as the network sees it: which tokens are asked for, where they stand, who sees whom.

Everything that a colour says is also said by a sign, so that it can be read from a file or by who sees no colours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from zhixing.language import tr
from zhixing.pretraining.preview import Preview, piece
from zhixing.pretraining.shown import ShownPart
from zhixing.pretraining.visibility import Seen, within
from zhixing.tokenizers.protocol import Tokenizer

PER_LINE = 10
"""Tokens of one line, so that each line begins at a position that is easy to count from."""
LONGEST_RUN = 4
"""Tokens that are equal and not asked for are written once from this many on."""
FIRST_PLACES = 32
"""Places whose visibility is drawn when nothing else is asked for."""
BAND = 60
"""Columns of a picture; a wider one is drawn in bands."""
_DOCUMENT_STYLES = ("cyan", "magenta", "yellow", "blue")


def draw(shown: Preview, places: slice | None = None, attention: bool = False) -> RenderableType:
    """Return the rows of a batch for a terminal of 80 columns.

    Args:
        shown: the rows.
        places: of each part, only these; None: all.
        attention: draw who sees whom for all of them, in every row; otherwise for the beginning of the first.
    """
    parts: list[RenderableType] = [_heading(shown)]
    for index, row in enumerate(shown.rows):
        title = tr(f"row {index}, position {shown.first + index}", f"第 {index} 行，位置 {shown.first + index}")
        parts.append(Text("\n" + title, style="bold"))
        for part in row:
            parts += _part(part, shown, places, attention, first=index == 0)
    if len(shown.rows) < shown.size:
        left = shown.size - len(shown.rows)
        more = tr(f"and {left} more rows: --rows {shown.size}", f"另有 {left} 行：--rows {shown.size}")
        parts.append(Text("\n" + more))
    return Group(*parts)


def _heading(shown: Preview) -> Text:
    last = shown.first + shown.size - 1
    what = tr(
        f"{shown.name}: family {shown.family}, objective {shown.objective}",
        f"{shown.name}：模型族 {shown.family}，目标 {shown.objective}",
    )
    where = tr(
        f"batch {shown.number}: positions {shown.first} to {last} of the global order",
        f"第 {shown.number} 个批次：全局顺序的第 {shown.first} 至 {last} 个位置",
    )
    return Text(f"{what}\n{where}")


def _part(part: ShownPart, shown: Preview, places: slice | None, attention: bool, first: bool) -> list[RenderableType]:
    chosen = range(len(part.ids))[places] if places is not None else range(len(part.ids))
    asked = int((part.weights > 0).sum())
    lines: list[RenderableType] = [Text(_title(part, asked, shown.tokenizer.separator_id), style="underline")]
    if legend := _legend(part, asked, shown.objective):
        lines.append(Text(legend, style="italic"))
    lines += [_tokens(part, chosen, shown.tokenizer), Text(seen_in_words(part, shown.reach))]
    if attention or first:
        drawn = chosen if attention or places is not None else chosen[:FIRST_PLACES]
        lines += list(_pictures(part, drawn))
    return lines


def _title(part: ShownPart, asked: int, separator_id: int) -> str:
    name = {"inputs": tr("inputs", "输入"), "source": tr("source", "源"), "target": tr("target", "目标端")}
    size, documents = len(part.ids), len(np.unique(part.documents))
    joined = 1 + int((part.ids[1 : _unpadded(part)] == separator_id).sum())
    if documents == 1 and joined > 1 and part.visible[-1, 0]:
        kept = tr("documents not kept apart (data.isolate_documents)", "文档未隔开（data.isolate_documents）")
    else:
        kept = tr(f"{documents} document" + ("s" if documents > 1 else ""), f"{documents} 篇文档")
    return tr(
        f"{name.get(part.name, part.name)}: {size} places, {asked} asked for, {kept}",
        f"{name.get(part.name, part.name)}：{size} 个位置，{asked} 处提问，{kept}",
    )


def _unpadded(part: ShownPart) -> int:
    """Return how many places come before the run of equal ids, not asked about, that a row may end with."""
    other = np.flatnonzero((part.ids != part.ids[-1]) | (part.weights > 0))
    return int(other[-1]) + 1 if len(other) else 0


def asks_next(part: ShownPart) -> bool:
    """Say whether every question is what comes next, so that no target need be written."""
    places = np.flatnonzero(part.weights > 0)
    inner = places[places < len(part.ids) - 1]
    return len(inner) > 0 and bool((part.targets[inner] == part.ids[inner + 1]).all())


def _legend(part: ShownPart, asked: int, objective: str) -> str:
    if objective == "contrastive":
        return tr(
            "all of it is read twice under dropout, to be found again among the rows",
            "整句在 dropout 下读两遍，要在批次各行中认出自己",
        )
    if not asked:
        return ""
    if asks_next(part):
        legend = tr("each place is asked for the next token", "每个位置要预测下一个词元")
        if asked < len(part.ids):
            legend += tr("; ‹x›: what follows does not count", "；‹x›：其后的词元不计入损失")
        return legend
    legend = tr("[x→y]: x is shown, y is asked for", "[x→y]：显示 x，要预测 y")
    if not _all_see_themselves(part):
        legend += tr("; ?: the place cannot see itself", "；?：该位置看不到自己")
    return legend + tr("; all else is given", "；其余均已给出")


def _tokens(part: ShownPart, chosen: range, tokenizer: Tokenizer) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    heads = (tr("document", "文档"), tr("position", "位置"))
    table.add_row(*heads, tr("tokens", "词元"), style="dim")
    for places in _lines(part, chosen):
        first, document = places[0], int(part.documents[places[0]])
        words = Text(" ").join(_word(part, run, tokenizer) for run in _runs(part, places))
        mark = Text(str(document), style=_DOCUMENT_STYLES[document % len(_DOCUMENT_STYLES)])
        table.add_row(mark, str(part.positions[first]), words)
    return table


def _lines(part: ShownPart, chosen: range) -> Iterator[range]:
    """Yield stretches of places: one document, positions that follow each other; padding is one line."""
    start = chosen.start
    for place in range(start + 1, chosen.stop):
        jumps = part.positions[place] != part.positions[place - 1] + 1
        full = place - start >= PER_LINE and not _repeats(part, place)
        if part.documents[place] != part.documents[place - 1] or jumps or full:
            yield range(start, place)
            start = place
    if chosen:
        yield range(start, chosen.stop)


def _runs(part: ShownPart, places: range) -> Iterator[range]:
    """Yield the places of a line one by one, but equal ones that nobody asks for together."""
    start = places.start
    while start < places.stop:
        stop = start + 1
        while stop < places.stop and _repeats(part, stop):
            stop += 1
        stop = stop if stop - start >= LONGEST_RUN else start + 1
        yield range(start, stop)
        start = stop


def _repeats(part: ShownPart, place: int) -> bool:
    """Say whether a place holds what the one before it does, and nothing is asked at either."""
    return bool(part.ids[place] == part.ids[place - 1] and not part.weights[place - 1 : place + 1].any())


def _word(part: ShownPart, run: range, tokenizer: Tokenizer) -> Text:
    place, weight = run[0], float(part.weights[run[0]])
    shown, target = piece(tokenizer, int(part.ids[place])), int(part.targets[place])
    follows = asks_next(part)
    if weight == 0:
        words = f"‹{shown}›" if follows else shown
        return Text(words + (f"×{len(run)}" if len(run) > 1 else ""), style="dim" if follows else "")
    if not follows:
        hidden = not part.visible[place, place] and part.ids[place] == target
        words = f"[{'?' if hidden else shown}→{piece(tokenizer, target)}]"
    elif place == len(part.ids) - 1:
        words = f"{shown}→{piece(tokenizer, target)}"
    else:
        words = shown
    return Text(words + ("" if weight == 1 else f"×{weight:.3g}"), style=_shade(weight))


def _shade(weight: float) -> str:
    """Return a style that is the stronger the more an answer counts."""
    return "black on green" if weight >= 1 else "black on yellow" if weight >= 0.5 else "black on bright_yellow"


def _all_see_themselves(part: ShownPart) -> bool:
    return bool(part.visible.diagonal()[part.weights > 0].all())


def seen_in_words(part: ShownPart, reach: int | None = None) -> str:
    """Return who sees whom in a sentence; where it has no simple rule, it says so."""
    size = len(part.ids)
    same = part.documents[:, None] == part.documents[None, :]
    several = bool(part.documents.any())
    own = tr(" of its document", "本文档中") if several else ""
    lower = np.tril(same)
    if (part.visible == (lower & within(size, reach))).all():
        words = _before_in_words(own, reach if reach is not None and reach < size else None)
    elif (part.visible == same).all():
        words = tr(f"each place sees everything{own}, before and after it", f"每个位置看到{own}前后的全部内容")
    elif _is_all_but_padding(part.visible, same):
        words = tr(f"each place sees everything{own} but padding", f"每个位置看到{own}除填充外的全部内容")
    else:
        words = tr(
            "who sees whom differs from place to place: see the picture (--attention)",
            "各位置所见不同：见图（--attention）",
        )
    return words + _source_in_words(part)


def _before_in_words(own: str, reach: int | None) -> str:
    if reach is None:
        return tr(f"each place sees itself and all{own} before it", f"每个位置看到自己与{own}之前的全部内容")
    return tr(
        f"each place sees itself and the {reach - 1} places{own} before it",
        f"每个位置看到自己与{own}之前的 {reach - 1} 个位置",
    )


def _is_all_but_padding(visible: Seen, same: Seen) -> bool:
    size = len(visible)
    real = size - int(np.argmax((visible.sum(axis=0) > 1)[::-1])) if (visible.sum(axis=0) > 1).any() else 0
    columns = np.arange(size) < real
    return bool((visible[:real] == (same & columns)[:real]).all())


def _source_in_words(part: ShownPart) -> str:
    if part.sees_source is None:
        return ""
    seen = part.sees_source
    if seen.all():
        return tr(", and all of the source", "，以及整个源序列")
    if (seen == seen[:1]).all():
        number, size = int(seen[0].sum()), seen.shape[1]
        return tr(f", and {number} of the {size} places of the source", f"，以及源序列 {size} 个位置中的 {number} 个")
    return tr(", and of the source what the picture shows", "，以及图中所示的源序列位置")


def _pictures(part: ShownPart, chosen: range) -> Iterator[RenderableType]:
    """Yield who sees whom among the chosen places, and what they see of a source."""
    if not chosen:
        return
    rows = slice(chosen.start, chosen.stop)
    title = tr("who sees whom (downwards who looks, across who is seen)", "谁看到谁（纵向为观看者，横向为被看者）")
    yield from _bands(title, part.visible[rows, rows], chosen)
    if part.sees_source is not None and not part.sees_source.all():
        title = tr("what of the source is seen", "看到源序列的哪些位置")
        yield from _bands(title, part.sees_source[rows], range(chosen.start, chosen.stop), from_zero=True)


def _bands(title: str, seen: Seen, rows: range, from_zero: bool = False) -> Iterator[Text]:
    first = 0 if from_zero else rows.start
    for start in range(0, seen.shape[1], BAND):
        yield Text(title, style="italic")
        yield picture(seen[:, start : start + BAND], rows.start, first + start)


def picture(seen: Seen, first_row: int = 0, first_column: int = 0) -> Text:
    """Return (R, C) truth values as half blocks: two rows a line, with every tenth place named; ``·``: neither.

    Args:
        seen: True where the place of the row sees that of the column.
        first_row: the place of the first row.
        first_column: the place of the first column.
    """
    height, width = seen.shape
    ticks = [f"{place:<10}" for place in range(first_column, first_column + width, 10)]
    lines = [" " * 6 + "".join(ticks).rstrip()]
    blocks = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): "·"}
    for row in range(0, height, 2):
        below = seen[row + 1] if row + 1 < height else np.zeros(width, dtype=bool)
        cells = "".join(blocks[bool(up), bool(down)] for up, down in zip(seen[row], below, strict=True))
        label = str(first_row + row) if row % 10 == 0 else ""
        lines.append(f"{label:>5} {cells}")
    return Text("\n".join(lines), no_wrap=True)
