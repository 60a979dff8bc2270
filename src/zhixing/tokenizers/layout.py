"""``tokenizer.json`` in the layout of the ``tokenizers`` library, written from our own tables.

Nothing is normalised, and decoding undoes encoding byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zhixing.tokenizers.byte_alphabet import BYTE_CHARACTERS, bytes_to_characters
from zhixing.tokenizers.pieces import Json
from zhixing.tokenizers.specials import MASK

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How GPT-2 cuts text before merging: what ``ByteLevel`` means when its ``use_regex`` is true."""

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Llama 3 (after ``cl100k``) cuts text: at most three digits together, a mark joined to the word behind
it."""

PATTERNS = {"gpt2": GPT2_PATTERN, "llama3": LLAMA3_PATTERN}

WORDPIECE_PATTERNS = {
    "gpt2": (r"#|'(?:[sdmt]|ll|ve|re)| ?\p{L}{1,32}| ?\p{N}{1,32}| ?[^\s\p{L}\p{N}#]{1,32}|\s{1,32}(?!\S)|\s{1,32}"),
    "llama3": (
        r"#|(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}#]?\p{L}{1,32}|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}#]{1,32}[\r\n]{0,32}|\s{0,32}[\r\n]{1,32}|\s{1,32}(?!\S)|\s{1,32}"
    ),
}
"""The same two for WordPiece. ``#`` always stands alone, so that no text looks like the mark ``##`` of a piece that
continues; and a word ends after 32 characters, where BERT, after 100, gives up and writes ``[UNK]``."""

CONTINUES = "##"
"""What WordPiece writes before a piece that continues a word."""

WORDPIECE_LIMIT = 200
"""Bytes: more than any word of these patterns has."""


def byte_level(use_regex: bool) -> Json:
    """Return the pre-tokenizer or decoder that turns bytes into the GPT-2 alphabet."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def pre_tokenizer(pattern: str) -> Json:
    """Return the pre-tokenizer of a named pattern, written as the family of that name writes it."""
    if pattern == "gpt2":
        return byte_level(use_regex=True)
    return sequence(split(PATTERNS[pattern]), byte_level(use_regex=False))


def byte_level_pattern(pre_tokenizer: Any) -> str | None:
    """Return the one pattern of a byte-level pre-tokenizer: GPT-2's own, or that of a ``Split`` before it."""
    parts = [pre_tokenizer] if (pre_tokenizer or {}).get("type") != "Sequence" else pre_tokenizer["pretokenizers"]
    *before, last = parts
    if (last or {}).get("type") != "ByteLevel" or last.get("add_prefix_space", True):
        return None
    if last.get("use_regex", True):
        return GPT2_PATTERN if not before else None
    if len(before) != 1 or before[0].get("type") != "Split":
        return None
    isolates = before[0].get("behavior") == "Isolated" and not before[0].get("invert")
    regex = before[0].get("pattern", {}).get("Regex")
    return regex if isolates and isinstance(regex, str) else None


def split(pattern: str) -> Json:
    """Return a pre-tokenizer that keeps every match of ``pattern`` as a piece of its own."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(*parts: Json) -> Json:
    """Return pre-tokenizers one after the other."""
    return {"type": "Sequence", "pretokenizers": list(parts)}


def byte_level_document(
    merges: Iterable[tuple[bytes, bytes]], special_tokens: Mapping[str, int], pre_tokenizer: Json
) -> Json:
    """Return the document of a byte-level BPE: ids 0 to 255 are the bytes, then one per merge."""
    pairs = [(bytes_to_characters(left), bytes_to_characters(right)) for left, right in merges]
    tokens = [*BYTE_CHARACTERS, *(left + right for left, right in pairs)]
    vocab = {token: index for index, token in enumerate(tokens)} | dict(special_tokens)
    model = _bpe(vocab, [list(pair) for pair in pairs], byte_fallback=False)
    return _document(model, special_tokens, pre_tokenizer, byte_level(use_regex=True))


def unigram_document(
    pieces: Iterable[tuple[bytes, float]], special_tokens: Mapping[str, int], pre_tokenizer: Json
) -> Json:
    """Return the document of a byte-level unigram model: each piece with the logarithm of its probability.

    The special tokens are no pieces, so that the best cutting of a text can never hold one.
    """
    vocab = [[bytes_to_characters(piece), log_probability] for piece, log_probability in pieces]
    model = {"type": "Unigram", "unk_id": None, "vocab": vocab, "byte_fallback": False}
    return _document(model, special_tokens, pre_tokenizer, byte_level(use_regex=True))


def wordpiece_document(
    pieces: Iterable[tuple[bool, bytes]], special_tokens: Mapping[str, int], pre_tokenizer: Json
) -> Json:
    """Return the document of a byte-level WordPiece: of each piece whether it continues a word, and its bytes.

    All 256 bytes are there twice, beginning and continuing; so ``[UNK]``, which the layout must name, is never written.
    """
    tokens = [(CONTINUES if continues else "") + bytes_to_characters(piece) for continues, piece in pieces]
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": CONTINUES,
        "max_input_chars_per_word": WORDPIECE_LIMIT,
        "vocab": {token: index for index, token in enumerate(tokens)},
    }
    unmark = {"type": "Replace", "pattern": {"Regex": f"^{CONTINUES}"}, "content": ""}
    decoder = {"type": "Sequence", "decoders": [unmark, byte_level(use_regex=True)]}
    return _document(model, special_tokens, pre_tokenizer, decoder)


def wordpiece_pre_tokenizer(pattern: str) -> Json:
    """Return the pre-tokenizer of WordPiece for a named pattern."""
    return sequence(split(WORDPIECE_PATTERNS[pattern]), byte_level(use_regex=False))


def character_document(characters: Sequence[str], special_tokens: Mapping[str, int]) -> Json:
    """Return the document of a character tokenizer: a BPE without merges, whose unknown characters fall to
    bytes.

    Bytes are written ``<0x00>`` to ``<0xFF>``; a character of ASCII is absent from the vocabulary, so it
    falls to its one byte.
    """
    tokens = [*(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    vocab = {token: index for index, token in enumerate(tokens)} | dict(special_tokens)
    decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    return _document(_bpe(vocab, [], byte_fallback=True), special_tokens, None, decoder)


def _bpe(vocab: Mapping[str, int], merges: list[list[str]], byte_fallback: bool) -> Json:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": byte_fallback,
        "ignore_merges": False,
        "vocab": dict(vocab),
        "merges": merges,
    }


def _document(model: Json, special_tokens: Mapping[str, int], pre_tokenizer: Json | None, decoder: Any) -> Json:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(token, index) for token, index in special_tokens.items()],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def _special(token: str, index: int) -> Json:
    # A mask stands for a word with the blank before it, as in RoBERTa's tokenizer: byte-level tokens begin with it.
    flags = {"single_word": False, "lstrip": token == MASK, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": token, **flags}
