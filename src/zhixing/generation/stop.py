"""Stop strings in a stream of text, wherever the tokens happen to cut it.

Text is held back while it could still be the beginning of a stop string; a stop string itself is never
shown. Of several, the one that is complete first ends the text, exactly as if the text arrived character by
character, so the result does not depend on how it is cut into pieces.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Watches one text. ``found`` becomes the stop string that ended it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """Take more text; return what may be shown now. After ``found`` is set, nothing more is shown."""
        if self.found is not None:
            return ""
        text = self._held + text
        matches = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if matches:
            _, start, self.found = min(matches)
            self._held = ""
            return text[:start]
        return self._hold(text)

    def finish(self) -> str:
        """Return the text that was held back: it turned out not to be a stop string."""
        held, self._held = self._held, ""
        return held

    def _hold(self, text: str) -> str:
        """Keep the longest end of the text that begins some stop string, return the rest."""
        longest = max(map(len, self._stops), default=1) - 1
        for start in range(max(0, len(text) - longest), len(text)):
            if any(stop.startswith(text[start:]) for stop in self._stops):
                self._held = text[start:]
                return text[:start]
        self._held = ""
        return text
