"""A little language to translate: English number words, and the same numbers in Chinese."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
ONES = f"zero one two three four five six seven eight nine {TEENS}".split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
DIGITS = "零一二三四五六七八九"


def english(number: int) -> str:
    """Return the words of 1 to 9999."""
    words = []
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            words += [ONES[number // size], name]
            number %= size
    if number >= 20:
        words.append(TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else ""))
    elif number:
        words.append(ONES[number])
    return " ".join(words)


def chinese(number: int) -> str:
    """Return the numeral of 1 to 9999: 3042 is 三千零四十二."""
    written, gap = "", False
    for size, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, size)
        if digit:
            written += ("零" if gap and written else "") + DIGITS[digit] + unit
        gap = not digit
    return written.removeprefix("一") if written.startswith("一十") else written


def write_pairs(path: Path, count: int, seed: int = 0) -> Path:
    """Write so many different numbers, as rows of ``source`` and ``target``."""
    numbers = np.random.default_rng(seed).permutation(9999)[:count] + 1
    rows = [{"source": english(int(n)), "target": chinese(int(n))} for n in numbers]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path
