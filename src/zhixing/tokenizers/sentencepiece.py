"""The vocabulary files of SentencePiece (Kudo & Richardson 2018): ``spiece.model``, ``tokenizer.model``.

Published checkpoints of T5, XLNet, Llama and others bring one. It is read here without the program that wrote it, and
said again as a ``tokenizer.json``, which the ``tokenizers`` library runs: unigram with log-probabilities, or
byte-pair encoding, where the piece with the highest score is joined first.

What T5 and XLNet add beside the file is added: the sentinels ``<extra_id_0>``, … behind T5's pieces; XLNet's plain
quotation marks, its letters without accents, and a comma after a digit as a piece of its own.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import regex

from zhixing.tokenizers.pieces import content_of
from zhixing.tokenizers.protocol_buffers import Message
from zhixing.tokenizers.validation import FILE_LIMIT, TOKEN_LIMIT, Json, refuse

FILES = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
"""Names under which checkpoints bring the file."""

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)
_UNIGRAM, _BPE = 1, 2
_BLANK = "\u2581"
_NEVER = -1e6
"""Score of a piece that text must not become: one that is not used, or the name of a byte, typed."""
_T5_SENTINELS = 100
_DIGIT_AND_COMMA = regex.compile(r"\d,$")


@dataclass(frozen=True)
class Piece:
    """One entry: text, score, and what kind it is (1 normal, 2 unknown, 3 control, 4 the user's, 5 unused, 6 byte)."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class SentencePiece:
    """What a file says that decides ids and text."""

    pieces: tuple[Piece, ...]
    algorithm: int
    character_map: bytes
    prefix: bool
    """Whether a text begins as if a blank stood before it."""
    single_blanks: bool
    """Whether blanks at both ends go, and of several only one stays."""
    byte_fallback: bool

    @property
    def unknown(self) -> str:
        """The piece that stands for what is not known."""
        return next(piece.text for piece in self.pieces if piece.kind == _UNKNOWN)


def read_sentencepiece(path: Path) -> SentencePiece:
    """Return what a file of SentencePiece holds.

    Raises:
        ModelFolderError: no such file, damaged, or of an algorithm other than unigram and BPE.
    """
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT:
            raise refuse(path, f"{size} bytes, more than {FILE_LIMIT}", f"{size} 字节，超过上限 {FILE_LIMIT}")
        return _checked(_parsed(path.read_bytes()), path)
    except OSError as error:
        raise refuse(path, f"cannot be read: {error.strerror}", f"无法读取：{error.strerror}") from error
    except ValueError as error:  # UnicodeDecodeError too
        raise refuse(
            path,
            f"not a vocabulary of SentencePiece, or damaged ({error})",
            f"不是 SentencePiece 的词表，或已损坏（{error}）",
        ) from error


def _parsed(data: bytes) -> SentencePiece:
    whole = Message(data)
    trainer, normalizer = whole.message(2), whole.message(3)
    if trainer.integer(24, 0) or not normalizer.integer(5, 1):
        raise ValueError("blanks as endings, or as they are: not read here")
    return SentencePiece(
        pieces=tuple(Piece(one.text(1), one.single(2), one.integer(3, _NORMAL)) for one in whole.messages(1)),
        algorithm=trainer.integer(3, _UNIGRAM),
        character_map=normalizer.data(2),
        prefix=bool(normalizer.integer(3, 1)),
        single_blanks=bool(normalizer.integer(4, 1)),
        byte_fallback=bool(trainer.integer(35, 0)),
    )


def _checked(found: SentencePiece, where: Path) -> SentencePiece:
    pieces = found.pieces
    if not 0 < len(pieces) <= TOKEN_LIMIT:
        raise ValueError(f"{len(pieces)} pieces")
    if len({piece.text for piece in pieces}) < len(pieces) or not all(piece.text for piece in pieces):
        raise ValueError("an empty piece, or one that stands twice")
    if not all(math.isfinite(piece.score) and _NORMAL <= piece.kind <= _BYTE for piece in pieces):
        raise ValueError("a score that is no number, or a piece of an unknown kind")
    if sum(piece.kind == _UNKNOWN for piece in pieces) != 1:
        raise ValueError("not exactly one unknown piece")
    if found.algorithm not in (_UNIGRAM, _BPE):
        raise refuse(
            where,
            "SentencePiece's models of whole words or of characters are not read here; unigram and bpe are",
            "此处不读取 SentencePiece 的整词或字符模型；可读 unigram 与 bpe",
        )
    return found


def sentencepiece_document(path: Path, config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> Json:
    """Return a ``tokenizer.json`` of a file of SentencePiece.

    Args:
        path: the file.
        config: ``config.json`` of the model beside it; its ``model_type`` says what the family adds.
        tokenizer_config: ``tokenizer_config.json``, with ``extra_ids`` and ``added_tokens_decoder`` if it has them.

    Raises:
        ModelFolderError: see ``read_sentencepiece``.
    """
    found = read_sentencepiece(path)
    is_xlnet = config.get("model_type") == "xlnet" or str(tokenizer_config.get("tokenizer_class", ""))[:5] == "XLNet"
    if is_xlnet:
        apart = [replace(p, score=p.score - 100) if _DIGIT_AND_COMMA.search(p.text) else p for p in found.pieces]
        found = replace(found, pieces=tuple(apart))
    before = _xlnet_normalizers(tokenizer_config) if is_xlnet else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(found, config, tokenizer_config),
        "normalizer": {"type": "Sequence", "normalizers": [*before, *_normalizers(found)]},
        "pre_tokenizer": _pre_tokenizer(found),
        "post_processor": None,
        "decoder": _decoder(found),
        "model": _unigram(found) if found.algorithm == _UNIGRAM else _bpe(found),
    }


def _unigram(found: SentencePiece) -> Json:
    unknown = next(index for index, piece in enumerate(found.pieces) if piece.kind == _UNKNOWN)
    vocab = [[piece.text, _NEVER if piece.kind in (_UNUSED, _BYTE) else piece.score] for piece in found.pieces]
    return {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": found.byte_fallback}


def _bpe(found: SentencePiece) -> Json:
    scores = {piece.text: piece.score for piece in found.pieces if piece.kind == _NORMAL}
    splits = (
        (-score, number, text[:middle], text[middle:])
        for number, (text, score) in enumerate(scores.items())
        for middle in range(1, len(text))
        if text[:middle] in scores and text[middle:] in scores
    )
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": found.unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": found.byte_fallback,
        "ignore_merges": any(piece.kind == _USER for piece in found.pieces),
        "vocab": {piece.text: index for index, piece in enumerate(found.pieces)},
        "merges": [[left, right] for _, _, left, right in sorted(splits)],
    }


def _normalizers(found: SentencePiece) -> list[Json]:
    """Return SentencePiece's own steps: its table of characters, blanks made single, one put before, all written ▁."""
    steps: list[Json] = []
    if found.character_map:
        text = base64.b64encode(found.character_map).decode("ascii")
        steps.append({"type": "Precompiled", "precompiled_charsmap": text})
    if found.single_blanks:
        steps += [_replace({"Regex": r"\A +| +\z"}, ""), _replace({"Regex": " {2,}"}, " ")]
    if found.prefix:
        steps.append({"type": "Prepend", "prepend": " "})
    return [*steps, _replace({"String": " "}, _BLANK)]


def _xlnet_normalizers(tokenizer_config: Mapping[str, Any]) -> list[Json]:
    steps = [_replace({"String": "``"}, '"'), _replace({"String": "''"}, '"')]
    if not tokenizer_config.get("keep_accents"):
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    return [*steps, {"type": "Lowercase"}] if tokenizer_config.get("do_lower_case") else steps


def _replace(pattern: Json, content: str) -> Json:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _pre_tokenizer(found: SentencePiece) -> Json | None:
    """Return what cuts out the user's pieces, which are always whole; the longest first."""
    whole = sorted((piece.text for piece in found.pieces if piece.kind == _USER), key=len, reverse=True)
    if not whole:
        return None
    pattern = "|".join(regex.escape(text, special_only=True) for text in whole)
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _decoder(found: SentencePiece) -> Json:
    steps: list[Json] = [_replace({"String": _BLANK}, " ")]
    steps += [{"type": "ByteFallback"}] if found.byte_fallback else []
    steps.append({"type": "Fuse"})
    steps += [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if found.prefix else []
    return {"type": "Sequence", "decoders": steps}


def _added(found: SentencePiece, config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> list[Json]:
    """Return the special tokens: unknown and control pieces, T5's sentinels, and what the configuration adds."""
    special = {index: p.text for index, p in enumerate(found.pieces) if p.kind in (_UNKNOWN, _CONTROL)}
    number = int(tokenizer_config.get("extra_ids", _T5_SENTINELS if config.get("model_type") == "t5" else 0))
    known: set[str] = {piece.text for piece in found.pieces}
    sentinels = [name for i in range(number) if (name := f"<extra_id_{number - 1 - i}>") not in known]
    added = [_token(len(found.pieces) + i, name, True) for i, name in enumerate(sentinels)]
    declared = _declared(tokenizer_config.get("added_tokens_decoder"), known | set(sentinels))
    return [*(_token(index, text, True) for index, text in special.items()), *added, *declared]


def _declared(decoder: Any, known: set[str]) -> list[Json]:
    """Return the tokens that ``added_tokens_decoder`` adds to the file's, by id."""
    rows = decoder.items() if isinstance(decoder, dict) else ()
    named = [(int(index), content_of(value), value) for index, value in rows if str(index).isdecimal()]
    return [
        _token(index, content, bool(value.get("special")))
        for index, content, value in sorted(named, key=lambda row: row[0])
        if content and content not in known
    ]


def _token(index: int, content: str, special: bool) -> Json:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    return {"id": index, "content": content, **flags}


def sentencepiece_file(folder: Path, names: Sequence[str] = FILES) -> Path | None:
    """Return the file of SentencePiece in a folder, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)
