r"""Formulas in a terminal: a MathML tree laid out in rows of characters.

Every part becomes a box: some rows of equal width, one of which is the line the formula stands on. Fractions are
stacked, sums carry their limits, indices are Unicode's small characters where those exist and stand lower or higher
where they do not. ``inline`` writes everything on one line instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from rich.cells import cell_len

from zhixing.explain.formulas import is_function, tree

_LOWER = str.maketrans("0123456789+−-=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ")
_RAISE = str.maketrans(
    "0123456789+−-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW⊤βγδφχ′″",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵀᵝᵞᵟᵠᵡ′″",
)
_ACCENTS = {"^": "\u0302", "~": "\u0303", "∼": "\u0303", "¯": "\u0304", "‾": "\u0304", "→": "\u20d7", "˙": "\u0307"}
_SPACED = set("=←→↦⇒≈≡≠≤≥<>∈∉∼∝+−±·×∗⊙⊕⊗∪∩∧∨∣:≪≫⟶⟵≔◦∘∖⊂⊆")
_BREAKS = set("=←→≈≤≥∼∝≡+−≔")
_SIGNS = "=←→≈≤≥∼∝≡+−·≔"
_INDENT = "    "
_BIG = set("∑∏∫⋃⋂⨁")
_OPENING, _CLOSING = set("([{⟨⌊⌈"), set(")]}⟩⌋⌉")
_TALL = {
    "(": "⎛⎜⎝", ")": "⎞⎟⎠", "[": "⎡⎢⎣", "]": "⎤⎥⎦", "{": "⎧⎪⎩", "}": "⎫⎪⎭",
    "⌊": "⎢⎢⎣", "⌋": "⎥⎥⎦", "⌈": "⎡⎢⎢", "⌉": "⎤⎥⎥", "|": "│││", "‖": "║║║",
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """Rows of equal width; ``base`` is the row that the formula stands on."""

    rows: tuple[str, ...]
    base: int = 0
    is_matrix: bool = False

    @property
    def width(self) -> int:
        """Cells that a row takes."""
        return cell_len(self.rows[0])


def typeset(latex: str, width: int = 76) -> list[str]:
    """Return a formula in rows, at most ``width`` cells wide: broken before a relation or a sign if it must be."""
    lines: list[list[tuple[Box, str]]] = [[]]
    for box, text in _row_boxes(list(tree(latex, block=True)), _box):
        room = width - (len(_INDENT) if len(lines) > 1 else 0)
        if sum(one.width for one, _ in lines[-1]) + box.width > room and lines[-1]:
            lines.append(_taken_from_the_last_break(lines[-1]))
        lines[-1].append((box, text))
    boxes = [_beside([box for box, _ in line]) for line in lines if line]
    rows = [_INDENT * (n > 0) + row for n, box in enumerate(boxes) for row in box.rows]
    if max(map(cell_len, rows), default=0) > width:
        return _wrapped(inline(latex), width)
    return [row.rstrip() for row in rows]


def inline(latex: str) -> str:
    """Return a formula on one line: ``(a + b)/c``, ``√(x)``, ``x_max``."""
    return _beside([box for box, _ in _row_boxes(list(tree(latex)), _flat)]).rows[0].strip()


def _wrapped(text: str, width: int) -> list[str]:
    """Break a line at its spaces, but never behind a sign."""
    lines = [""]
    for word in re.findall(rf"(?:[{_SIGNS}] )?\S+", text):
        if lines[-1] and cell_len(f"{lines[-1]} {word}") > width:
            lines.append(_INDENT[1:])
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def _taken_from_the_last_break(line: list[tuple[Box, str]]) -> list[tuple[Box, str]]:
    """Split a line that is full before its last relation or sign; the rest begins the next line."""
    at = max((n for n, (_, text) in enumerate(line) if n and text.strip() in _BREAKS), default=len(line))
    rest = line[at:]
    del line[at:]
    return rest


Layout = Callable[[Element], Box]


def _row_boxes(children: Sequence[Element], layout: Layout) -> list[tuple[Box, str]]:
    """Lay out neighbours, with spaces around operators; each with its text if it is an operator."""
    flat = _flattened(children)
    boxes: list[tuple[Box, str]] = []
    for n, element in enumerate(flat):
        text = (element.text or "") if element.tag == "mo" else ""
        if text in _SPACED and _is_binary(flat, n):
            boxes.append((Box((f" {text} ",)), text))
        elif text in (",", ";"):
            boxes.append((Box((text + " ",)), text))
        else:
            box = layout(element)
            if layout is _flat and element.tag == "mfrac" and _has_a_factor_beside(flat, n):
                box = Box((f"({box.rows[0]})",))
            boxes.append((box, text))
    return _with_tall_fences(boxes)


def _has_a_factor_beside(row: Sequence[Element], n: int) -> bool:
    """A fraction on one line needs parentheses where something multiplies it."""
    before, after = (row[i] if 0 <= i < len(row) else None for i in (n - 1, n + 1))
    follows = after is not None and (after.tag != "mo" or (after.text or "") in _BIG | _OPENING)
    return follows or (before is not None and before.tag in ("mi", "mn", "msub", "msup") and not is_function(before))


def _flattened(children: Sequence[Element]) -> list[Element]:
    """Take plain rows apart; a fenced row keeps its own height and stays whole."""
    flat: list[Element] = []
    for child in children:
        fenced = any(inner.get("fence") for inner in child)
        if child.tag in ("mrow", "mstyle", "mpadded") and not fenced:
            flat += _flattened(list(child))
        else:
            flat.append(child)
    return flat


def _is_binary(row: Sequence[Element], n: int) -> bool:
    """What begins a row is no operator between two; a sign behind another or a parenthesis belongs to its number."""
    if (row[n].text or "") not in "+−±":
        return n > 0 or len(row) == 1
    before = row[n - 1] if n else None
    text = (before.text or "") if before is not None and before.tag == "mo" else ""
    return before is not None and text not in _SPACED | _OPENING | {",", ";", "|"}


def _with_tall_fences(boxes: list[tuple[Box, str]]) -> list[tuple[Box, str]]:
    """Make parentheses as tall as what they enclose."""
    stack: list[int] = []
    for n, (_, text) in enumerate(boxes):
        if text in _OPENING and text:
            stack.append(n)
        elif text in _CLOSING and text and stack:
            start = stack.pop()
            inner = _beside([box for box, _ in boxes[start + 1 : n]] or [Box(("",))])
            if _is_tall(boxes[start + 1 : n]):
                boxes[start] = (_tall(boxes[start][1], inner), boxes[start][1])
                boxes[n] = (_tall(text, inner), text)
    return boxes


def _is_tall(inner: list[tuple[Box, str]]) -> bool:
    """A lone row of lowered or raised indices does not stretch a parenthesis."""
    return any(len(box.rows) > 2 or box.is_matrix for box, _ in inner)


def _tall(fence: str, inner: Box) -> Box:
    top, middle, bottom = tuple(_TALL.get(fence, fence * 3))
    rows = [top, *[middle] * (len(inner.rows) - 2), bottom]
    if fence in "{}" and len(rows) > 2:
        rows[len(rows) // 2] = "⎨" if fence == "{" else "⎬"
    elif fence in "{}":
        rows = ["⎰", "⎱"] if fence == "{" else ["⎱", "⎰"]
    return Box(tuple(rows), inner.base)


def _beside(boxes: Sequence[Box]) -> Box:
    """Set boxes side by side on one line."""
    if not boxes:
        return Box(("",))
    above = max(box.base for box in boxes)
    below = max(len(box.rows) - box.base for box in boxes)
    rows = []
    for n in range(-above, below):
        cells = [box.rows[box.base + n] if 0 <= box.base + n < len(box.rows) else " " * box.width for box in boxes]
        rows.append("".join(cells))
    return Box(tuple(rows), above)


def _stacked(boxes: Sequence[Box], base: int) -> Box:
    """Set boxes above each other, centred; ``base`` is the number of the one that the formula stands on."""
    width = max(box.width for box in boxes)
    rows = [_centred(row, width) for box in boxes for row in box.rows]
    return Box(tuple(rows), sum(len(box.rows) for box in boxes[:base]) + boxes[base].base)


def _centred(text: str, width: int) -> str:
    left = (width - cell_len(text)) // 2
    return " " * left + text + " " * (width - cell_len(text) - left)


def _placed(text: str, width: int, left: bool) -> str:
    return text + " " * (width - cell_len(text)) if left else _centred(text, width)


def _row(children: Sequence[Element], layout: Layout) -> Box:
    return _beside([box for box, _ in _row_boxes(children, layout)])


def _leaf(element: Element) -> Box:
    text = (element.text or "").replace("\u00a0", " ")
    text = unicodedata.normalize("NFKC", text) if element.tag == "mi" and _is_styled(text) else text
    return Box((" " if element.tag == "mspace" else text,))


def _is_styled(text: str) -> bool:
    """Bold and script letters of the mathematical plane, which few terminals have; 𝔼 is common enough."""
    return any(0x1D400 <= ord(mark) < 0x1D538 or 0x1D56C <= ord(mark) < 0x1D800 for mark in text)


def _box(element: Element) -> Box:
    """Lay one element out in as many rows as it needs."""
    children = list(element)
    match element.tag:
        case "mfrac":
            return _fraction(_row([children[0]], _box), _row([children[1]], _box))
        case "msqrt":
            return _root(_row(children, _box))
        case "msub" | "msup" | "msubsup":
            return _scripts(element)
        case "munder" | "mover" | "munderover":
            return _limits(element)
        case "mtable":
            left = any(cell.get("columnalign") == "left" for row in children for cell in row)
            return _matrix([[_row(list(cell), _box) for cell in row] for row in children], left)
        case _ if children:
            return _fenced(children) if any(child.get("fence") for child in children) else _row(children, _box)
        case _:
            return _leaf(element)


def _fraction(top: Box, bottom: Box) -> Box:
    width = max(top.width, bottom.width) + 2
    box = _stacked([top, Box(("─" * width,)), bottom], 1)
    return Box(tuple(f" {row} " for row in box.rows), box.base)


def _root(inner: Box) -> Box:
    if len(inner.rows) == 1:
        return Box((f"√{inner.rows[0]}" if inner.width == 1 else f"√({inner.rows[0]})",))
    rows = ["┌" + "─" * inner.width + "─"] + [f"│{row} " for row in inner.rows]
    marks = [" "] * (len(rows) - 1) + ["√"]
    return Box(tuple(mark + row for mark, row in zip(marks, rows, strict=True)), inner.base + 1)


def _fenced(children: Sequence[Element]) -> Box:
    """Lay out what stands between ``\\left`` and ``\\right``, with fences as tall as it."""
    fences = [child for child in (children[0], children[-1]) if child.get("fence")]
    inner = _row([child for child in children if child not in fences], _box)
    short = len(inner.rows) < 2
    marks = {fence: Box((fence.text or "",)) if short else _tall(fence.text or "", inner) for fence in fences}
    ordered = [marks.get(children[0]), inner, marks.get(children[-1]) if len(children) > 1 else None]
    return _beside([box for box in ordered if box is not None])


def _scripts(element: Element) -> Box:
    """A base with an index, an exponent, or both; small characters where Unicode has them for all of it."""
    base, *scripts = element
    inside = _box(base)
    low = _row([scripts[0]], _flat).rows[0] if element.tag != "msup" else ""
    high = _row([scripts[-1]], _flat).rows[0] if element.tag != "msub" else ""
    small_low, small_high = _small(low, _LOWER), _small(high, _RAISE)
    if small_low is not None and small_high is not None and len(inside.rows) == 1:
        return Box((inside.rows[0] + small_low + small_high,))
    width = max(cell_len(low), cell_len(high))
    above = [high] if high else []
    below = [low] if low else []
    rows = [*above, *[""] * len(inside.rows), *below]
    side = Box(tuple(row + " " * (width - cell_len(row)) for row in rows), len(above) + inside.base)
    return _beside([inside, side])


def _small(text: str, table: dict[int, int]) -> str | None:
    """Return the text in small characters, None where one is missing."""
    bare = text.replace(" ", "")
    return bare.translate(table) if all(ord(mark) in table for mark in bare) else None


def _limits(element: Element) -> Box:
    """Accents, and what stands under or above a sum or a maximum."""
    base, *rest = element
    mark = (rest[0].text or "") if element.tag == "mover" else ""
    if mark in _ACCENTS:
        return _accented(_box(base), mark)
    inside = _box(base)
    under = [_row([rest[0]], _flat)] if element.tag != "mover" else []
    over = [_row([rest[-1]], _flat)] if element.tag != "munder" else []
    box = _stacked([*over, inside, *under], len(over))
    return Box(tuple(f"{row} " for row in box.rows), box.base)


def _accented(inside: Box, mark: str) -> Box:
    if inside.width == 1 and len(inside.rows) == 1:
        return Box((unicodedata.normalize("NFC", inside.rows[0] + _ACCENTS[mark]),))
    line = "─" if mark in "¯‾" else mark
    return _stacked([Box((line * inside.width if line == "─" else line,)), inside], 1)


def _matrix(cells: Sequence[Sequence[Box]], left: bool) -> Box:
    """Set cells in columns, centred or ``left``; every row is as tall as its tallest cell."""
    widths = [max(row[n].width for row in cells if n < len(row)) for n in range(max(map(len, cells)))]
    lines = []
    for row in cells:
        padded = [
            Box(tuple(_placed(text, width, left) + "  " for text in box.rows), box.base)
            for box, width in zip(row, widths, strict=False)
        ]
        lines.append(_beside(padded))
    width = max(line.width for line in lines)
    rows = [text + " " * (width - cell_len(text)) for line in lines for text in line.rows]
    return Box(tuple(row[:-2] for row in rows), len(rows) // 2, is_matrix=True)


def _flat(element: Element) -> Box:
    """Lay one element out on a single line."""
    children = list(element)
    parts = [_row([child], _flat).rows[0] for child in children]
    match element.tag:
        case "mfrac":
            return Box((f"{_bracketed(parts[0])}/{_bracketed(parts[1])}",))
        case "msqrt":
            inner = _row(children, _flat).rows[0]
            return Box((f"√{inner}" if len(inner) == 1 else f"√({inner})",))
        case "mover" if (children[1].text or "") in _ACCENTS:
            return _accented_flat(parts[0], children[1].text or "")
        case "msub" | "munder":
            return Box((parts[0] + _index(parts[1], _LOWER, "_") + _gap(children[0]),))
        case "msup" | "mover":
            return Box((parts[0] + _index(parts[1], _RAISE, "^") + _gap(children[0]),))
        case "msubsup" | "munderover":
            both = _index(parts[1], _LOWER, "_") + _index(parts[2], _RAISE, "^")
            return Box((parts[0] + both + _gap(children[0]),))
        case "mtable":
            rows = [" ".join(_row(list(cell), _flat).rows[0] for cell in row) for row in children]
            return Box(("; ".join(rows),))
        case _ if children:
            return _row(children, _flat)
        case _:
            return _leaf(element)


def _gap(base: Element) -> str:
    return " " if (base.text or "") in _BIG else ""


def _accented_flat(text: str, mark: str) -> Box:
    return Box((unicodedata.normalize("NFC", text + _ACCENTS[mark]) if len(text) == 1 else f"({text}){mark}",))


def _index(text: str, table: dict[int, int], sign: str) -> str:
    small = _small(text, table)
    return small if small is not None else sign + (text if text.isalnum() else f"({text})")


def _bracketed(text: str) -> str:
    whole = not any(mark in text for mark in " +−/·") or _encloses(text)
    return text if whole else f"({text})"


def _encloses(text: str) -> bool:
    """Say whether one pair of parentheses, perhaps after a name, holds everything to the end."""
    start, depth = text.find("("), 0
    if start < 0 or not text.endswith(")") or any(mark in text[:start] for mark in " +−/·"):
        return False
    for n, mark in enumerate(text[start:], start):
        depth += (mark == "(") - (mark == ")")
        if depth == 0:
            return n == len(text) - 1
    return False
