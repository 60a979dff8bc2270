"""Open the tokenizer of a model folder: one of ours, or a Hugging Face one.

Byte-level BPE (GPT-2, Llama 3, Qwen, …) becomes a :class:`BpeTokenizer`, the byte-level unigram and WordPiece
that are trained here what they were; any other ``tokenizer.json``, or a vocabulary file of SentencePiece, is run by the
``tokenizers`` library as it stands, ``kind == "hf"``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.tokenizers.bpe import BpeTokenizer
from zhixing.tokenizers.byte_alphabet import BYTE_CHARACTERS, characters_to_bytes
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer
from zhixing.tokenizers.hugging_face import HuggingFaceTokenizer
from zhixing.tokenizers.layout import (
    CONTINUES,
    PATTERNS,
    WORDPIECE_LIMIT,
    WORDPIECE_PATTERNS,
    byte_level,
    pre_tokenizer,
    wordpiece_pre_tokenizer,
)
from zhixing.tokenizers.pieces import PieceTokenizer, content_of
from zhixing.tokenizers.protocol import SEPARATOR
from zhixing.tokenizers.sentencepiece import sentencepiece_document, sentencepiece_file
from zhixing.tokenizers.specials import extra_tokens, special_table
from zhixing.tokenizers.unigram import UnigramTokenizer
from zhixing.tokenizers.validation import Json, checked_document, read_object, read_text, refuse
from zhixing.tokenizers.wordpiece import WordPieceTokenizer

_log = logging.getLogger(__name__)

_USUAL_SEPARATORS = ("<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "</s>", "<eos>", "[SEP]")


def load_tokenizer(folder: str | Path) -> PieceTokenizer:
    """Return the tokenizer in ``folder``.

    Raises:
        ModelFolderError: there is none, it is damaged, or it is of a kind that cannot be run here; file and
            reason are named.
    """
    folder = Path(folder)
    config = _optional(folder / "tokenizer_config.json")
    if (folder / "tokenizer.json").is_file():
        where = folder / "tokenizer.json"
        document, tokens = checked_document(read_object(where), where)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        where = folder / "vocab.json"
        document, tokens = checked_document(_gpt2_files(folder), where)
    elif where := sentencepiece_file(folder):  # type: ignore[assignment]
        found = sentencepiece_document(where, _optional(folder / "config.json") or {}, config or {})
        document, tokens = checked_document(found, where)
    else:
        raise _no_tokenizer(folder)
    return _tokenizer(document, tokens, config, folder, where)


def _tokenizer(document: Json, tokens: Sequence[str], config: Json | None, folder: Path, where: Path) -> PieceTokenizer:
    special_tokens = {token["content"]: token["id"] for token in document["added_tokens"] if token["special"]}
    model = document["model"]
    is_bpe = model.get("type", "BPE") == "BPE"
    if is_bpe and _is_byte_level(document.get("pre_tokenizer")):
        pieces = _byte_pieces(document, tokens, where)
        extra = extra_tokens(special_tokens)
        if special_tokens == special_table(256, extra) and pieces[:256] == [bytes([byte]) for byte in range(256)]:
            return ByteTokenizer(document, config, extra)
        separator = _separator(special_tokens, config, folder, where)
        _tell_what_is_lost(document, where)
        return BpeTokenizer(document, pieces, special_tokens, config, separator)
    if is_bpe and _is_character_level(document, tokens, special_tokens):
        return CharacterTokenizer(tokens[256 : -len(special_tokens)], document, config, extra_tokens(special_tokens))
    separator = _separator(special_tokens, config, folder, where)
    if _is_our_unigram(document):
        return UnigramTokenizer(document, _byte_pieces(document, tokens, where), special_tokens, config, separator)
    if _is_our_wordpiece(document):
        plain = [token.removeprefix(CONTINUES) for token in tokens]
        return WordPieceTokenizer(document, _byte_pieces(document, plain, where), special_tokens, config, separator)
    return HuggingFaceTokenizer(document, tokens, special_tokens, config, separator, str(where))


def _is_byte_level(pre_tokenizer: Any) -> bool:
    if not isinstance(pre_tokenizer, dict):
        return False
    parts = pre_tokenizer.get("pretokenizers") if pre_tokenizer.get("type") == "Sequence" else [pre_tokenizer]
    return isinstance(parts, list) and any(isinstance(part, dict) and part.get("type") == "ByteLevel" for part in parts)


def _is_character_level(document: Json, tokens: Sequence[str], special_tokens: Mapping[str, int]) -> bool:
    model = document["model"]
    plain = not model.get("merges") and not document.get("pre_tokenizer") and not document.get("normalizer")
    bytes_first = list(tokens[:256]) == [f"<0x{byte:02X}>" for byte in range(256)]
    ours = special_tokens == special_table(len(tokens) - len(special_tokens), extra_tokens(special_tokens))
    single = all(len(token) == 1 and ord(token) >= 128 for token in tokens[256 : len(tokens) - len(special_tokens)])
    return bool(plain and model.get("byte_fallback") and bytes_first and ours and single)


def _is_our_unigram(document: Json) -> bool:
    model, ours = document["model"], [pre_tokenizer(name) for name in PATTERNS]
    if model.get("type") != "Unigram" or document.get("normalizer") or document.get("pre_tokenizer") not in ours:
        return False
    return {token for token, _ in model["vocab"]} >= set(BYTE_CHARACTERS)


def _is_our_wordpiece(document: Json) -> bool:
    """Say whether every text comes back: the words are cut as ours are, and every byte is there twice."""
    model, ours = document["model"], [wordpiece_pre_tokenizer(name) for name in WORDPIECE_PATTERNS]
    if model.get("type") != "WordPiece" or document.get("normalizer") or document.get("pre_tokenizer") not in ours:
        return False
    alphabet = {*BYTE_CHARACTERS, *(CONTINUES + byte for byte in BYTE_CHARACTERS)}
    fits = model.get("continuing_subword_prefix") == CONTINUES
    return fits and model.get("max_input_chars_per_word", 0) >= WORDPIECE_LIMIT and model["vocab"].keys() >= alphabet


def _byte_pieces(document: Json, tokens: Sequence[str], where: Path) -> list[bytes]:
    """Return the bytes of each id: spelled in the byte alphabet, or for an added token its text (nothing if
    special)."""
    vocab = set(tokens)
    if missing := [byte for byte, character in enumerate(BYTE_CHARACTERS) if character not in vocab]:
        raise refuse(
            where,
            f"no token for byte 0x{missing[0]:02X} ({len(missing)} of 256 are missing): some text could not be encoded",
            f"缺少字节 0x{missing[0]:02X} 的词元（256 个中缺 {len(missing)} 个），某些文本将无法编码",
        )
    added = {
        token["id"]: b"" if token["special"] else token["content"].encode("utf-8") for token in document["added_tokens"]
    }
    pieces = []
    for index, token in enumerate(tokens):
        try:
            pieces.append(added[index] if index in added else characters_to_bytes(token))
        except KeyError as error:
            raise refuse(
                where,
                f"id {index} ({token!r}) is not spelled in the byte alphabet: {error}",
                f"编号 {index}（{token!r}）不是用字节字母表写成的：{error}",
            ) from error
    return pieces


def _separator(special_tokens: Mapping[str, int], config: Json | None, folder: Path, where: Path) -> str:
    """Return the token between documents: ``<|endoftext|>``, else the declared end of text, else a usual
    name."""
    if SEPARATOR in special_tokens:
        return SEPARATOR
    by_id = {index: token for token, index in special_tokens.items()}
    model_config = _optional(folder / "config.json") or {}
    ends: Any = model_config.get("eos_token_id")
    declared = [
        content_of((config or {}).get("eos_token")),
        *(by_id.get(end) for end in (ends if isinstance(ends, list) else [ends])),
    ]
    candidates = [*declared, content_of((config or {}).get("bos_token")), *_USUAL_SEPARATORS]
    for token in candidates:
        if token in special_tokens:
            return str(token)
    raise refuse(
        where,
        "no special token separates documents; name one as 'eos_token' in tokenizer_config.json",
        "没有分隔文档的特殊词元；请在 tokenizer_config.json 中以 'eos_token' 指定",
    )


def _gpt2_files(folder: Path) -> Json:
    """Return the document of ``vocab.json`` and ``merges.txt``, the older layout of GPT-2."""
    vocab = read_object(folder / "vocab.json")
    lines = read_text(folder / "merges.txt").split("\n")
    merges = [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")]
    special = [{"content": SEPARATOR, "id": vocab[SEPARATOR], "special": True}] if SEPARATOR in vocab else []
    model = {"type": "BPE", "vocab": vocab, "merges": merges}
    level = byte_level(use_regex=True)
    return {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": level,
        "decoder": level,
        "model": model,
    }


def _tell_what_is_lost(document: Json, where: Path) -> None:
    if document.get("normalizer"):
        _log.warning(
            tr(
                f"{where}: this tokenizer normalises text; decoding may not give back what was encoded",
                f"{where}：该分词器会规范化文本，解码结果可能与原文不完全相同",
            )
        )


def _optional(path: Path) -> Json | None:
    return read_object(path) if path.is_file() else None


def _no_tokenizer(folder: Path) -> ModelFolderError:
    if (folder / "vocab.txt").is_file():
        return refuse(
            folder,
            "only vocab.txt, a layout that is not read here; "
            "save it as tokenizer.json with a fast tokenizer of transformers",
            "只有 vocab.txt，此格式无法读取；请用 transformers 的快速分词器另存为 tokenizer.json",
        )
    return refuse(
        folder,
        "no tokenizer.json; train one with: zhixing tokenizer train PATHS --out " + str(folder),
        "没有 tokenizer.json；可训练一个：zhixing tokenizer train 路径 --out " + str(folder),
    )
