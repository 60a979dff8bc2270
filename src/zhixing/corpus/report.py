"""What reading found: the counts behind the data card, so that nothing is dropped without a trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from zhixing.corpus.document import Problem

EXAMPLES = 5
"""How many examples of each kind of trouble are kept."""


@dataclass
class ReadReport:
    """Counts of one reading; ``documents`` and ``text_bytes`` are what was kept."""

    files: int = 0
    file_bytes: int = 0
    documents: int = 0
    text_bytes: int = 0
    duplicates: int = 0
    blank_documents: int = 0
    divided_documents: int = 0
    broken: int = 0
    broken_examples: list[str] = field(default_factory=list)
    repaired_bytes: int = 0
    removed_nul_characters: int = 0
    repaired_files: list[str] = field(default_factory=list)
    encodings: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    ignored_examples: list[str] = field(default_factory=list)

    def add_broken(self, problem: Problem) -> None:
        """Count a row or file that was skipped, and keep the first few."""
        self.broken += 1
        _keep(self.broken_examples, str(problem))

    def add_ignored(self, path: str, suffix: str) -> None:
        """Count a file of a folder whose type is not read."""
        self.ignored[suffix] = self.ignored.get(suffix, 0) + 1
        _keep(self.ignored_examples, path)

    def add_encoding(self, encoding: str) -> None:
        """Count one file read with ``encoding``."""
        self.encodings[encoding] = self.encodings.get(encoding, 0) + 1

    def add_repairs(self, path: str, invalid: int, nul: int) -> None:
        """Count the characters of one file that had to be replaced or removed."""
        if invalid or nul:
            self.repaired_bytes += invalid
            self.removed_nul_characters += nul
            _keep(self.repaired_files, path)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the report that ``to_dict`` described."""
        return cls(**values)


def _keep(examples: list[str], example: str) -> None:
    if len(examples) < EXAMPLES and example not in examples:
        examples.append(example)
