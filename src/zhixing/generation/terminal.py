"""Model output made safe to show on a terminal.

A model can write any character it was trained on, also those that move the cursor, set the clipboard (OSC
52) or reverse the reading direction. On a terminal they are shown as escapes; files and pipes receive the
text unchanged.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f"  # C0 controls but tab and newline; escape sequences begin here
    "\x80-\x9f"  # C1 controls: one-character forms of the same sequences
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction overrides (Boucher & Anderson 2021)
    "\u2028\u2029"
    "]"
)


def printable(text: str) -> str:
    """Return the text with control characters and overrides as visible escapes such as ``\\x1b``."""
    return _UNSAFE.sub(lambda match: ascii(match.group())[1:-1], text)
