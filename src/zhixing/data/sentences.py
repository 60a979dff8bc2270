"""Where the sentences of a text are, in token shards: lines and sentences between marks, each distinct one once.

A sentence ends at a line break, at ``.``, ``!`` or ``?`` before white space, and at ``。``, ``！``, ``？`` or ``…``,
quotation marks and brackets behind these included. One that is too long is cut into pieces. The same sentence is never
listed twice: a batch that holds it twice would push it away from itself.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zhixing.data.shards import Ids, TokenShards
from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.tokenizers.protocol import Tokenizer

_log = logging.getLogger(__name__)
# In bytes: marks and quotation marks above ASCII are alternatives of their UTF-8.
_END = re.compile(
    b"\n+"
    + rb"|[.!?]+(?:[\"')\]]|\xe2\x80[\x9d\x99])*(?=\s)"
    + rb"|(?:\xe3\x80\x82|\xef\xbc[\x81\x9f]|\xe2\x80\xa6)+(?:\xe2\x80[\x9d\x99]|\xe3\x80[\x8d\x8f]|\xef\xbc\x89)*"
)


@dataclass(frozen=True)
class Sentences:
    """Where N distinct sentences stand in a stream of ids: ``starts`` (N,) int64, ``lengths`` (N,) int32, in ids."""

    starts: Ids
    lengths: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.starts)


def find_sentences(shards: TokenShards, tokenizer: Tokenizer, shortest: int, longest: int) -> Sentences:
    """Return the distinct sentences of ``shards``, in order; 12 bytes of memory each.

    Args:
        shards: the text.
        tokenizer: of its ids; every id stands for fixed bytes.
        shortest: sentences of fewer ids are left out; how many is logged.
        longest: sentences of more ids are cut into pieces of at most so many.

    Raises:
        DataError: there is none.
    """
    pieces = [tokenizer.token_bytes(index) for index in range(tokenizer.vocab_size)]
    begins = np.array([not piece or not 0x80 <= piece[0] < 0xC0 for piece in pieces])  # no character is cut there
    starts, lengths, digests = [], [], []
    offset = left_out = 0
    for document in shards.documents():
        for first, last in _cut(document, pieces, begins, longest):
            listed = [pieces[index] for index in document[first:last].tolist()]
            while listed and not listed[-1].strip():
                listed.pop()
            size = len(listed)
            if size < shortest:
                left_out += size > 0
                continue
            starts.append(offset + first)
            lengths.append(size)
            digests.append(hashlib.blake2b(b"".join(listed).strip(), digest_size=8).digest())
        offset += len(document)
    if not starts:
        raise DataError(
            tr(
                f"{shards.folder}: no sentence has {shortest} tokens or more; give more text, or lower "
                "objective.shortest",
                f"{shards.folder}：没有一个句子达到 {shortest} 个词元；请增加文本，或调低 objective.shortest",
            )
        )
    distinct = np.sort(np.unique(np.frombuffer(b"".join(digests), dtype="<u8"), return_index=True)[1])
    _tell(len(distinct), len(starts) - len(distinct), left_out, shortest)
    return Sentences(np.array(starts, np.int64)[distinct], np.array(lengths, np.int32)[distinct])


def _cut(ids: Ids, pieces: Sequence[bytes], begins: NDArray[np.bool_], longest: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of one document's ids that are sentences, or pieces of long ones."""
    listed = [pieces[index] for index in ids.tolist()]
    ends = np.cumsum([len(piece) for piece in listed])
    marks = [match.end() for match in _END.finditer(b"".join(listed))]
    stops = np.unique([*(np.searchsorted(ends, marks) + 1), len(ids)]).tolist()
    start = int(not listed[0])  # the separator that opens the document
    for stop in stops:
        while stop - start > longest:
            middle = start + longest
            while middle > start + 1 and not begins[ids[middle]]:
                middle -= 1
            yield start, middle
            start = middle
        yield start, stop
        start = stop


def _tell(distinct: int, again: int, left_out: int, shortest: int) -> None:
    _log.info(
        tr(
            f"{distinct:,} distinct sentences; {again:,} repeated ones counted once, {left_out:,} shorter than "
            f"{shortest} tokens left out",
            f"{distinct:,} 个不同的句子；重复的 {again:,} 个只计一次，不足 {shortest} 个词元的 {left_out:,} 个略去",
        )
    )
