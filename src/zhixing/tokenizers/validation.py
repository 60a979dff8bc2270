"""What a ``tokenizer.json`` must be before anything uses it: limits, types, and a vocabulary without gaps
or doubles.

The file is a stranger's: it is read as data, bounded, and refused with the reason rather than passed to a
parser that may crash.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zhixing.errors import ModelFolderError
from zhixing.language import tr

Json = dict[str, Any]

FILE_LIMIT = 128 << 20
"""Bytes. The largest well-known vocabularies (262,000 tokens) take about 35 MB."""
TOKEN_LIMIT = 1_000_000
MERGE_LIMIT = 2_000_000
LENGTH_LIMIT = 4096
"""Characters in one token."""


def refuse(where: Path | str, en: str, zh: str) -> ModelFolderError:
    """Return the error that names the file and the reason."""
    return ModelFolderError(tr(f"{where}: {en}", f"{where}：{zh}"))


def read_text(path: Path) -> str:
    """Return the text of a file of bounded size.

    Raises:
        ModelFolderError: too large, unreadable, or not UTF-8.
    """
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT:
            raise refuse(path, f"{size} bytes, more than {FILE_LIMIT}", f"{size} 字节，超过上限 {FILE_LIMIT}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(path, f"not UTF-8 (byte {error.start})", f"不是 UTF-8（第 {error.start} 字节）") from error
    except OSError as error:
        raise refuse(path, f"cannot be read: {error.strerror}", f"无法读取：{error.strerror}") from error


def read_object(path: Path) -> Json:
    """Return the JSON object in a file; a name that stands twice is refused, because a parser would keep
    only one."""

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            raise refuse(path, f"{twice!r} stands twice; keep one", f"{twice!r} 重复出现；请只留一个")
        return found

    try:
        value = json.loads(read_text(path), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise refuse(
            path,
            f"not JSON (line {error.lineno}: {error.msg})",
            f"不是 JSON（第 {error.lineno} 行：{error.msg}）",
        ) from error
    except (RecursionError, ValueError) as error:
        raise refuse(path, f"not usable JSON: {error}", f"无法使用的 JSON：{error}") from error
    if not isinstance(value, dict):
        raise refuse(path, "must hold a JSON object", "内容应为一个 JSON 对象")
    return value


def checked_document(document: Json, where: Path | str) -> tuple[Json, list[str]]:
    """Return a valid document (added tokens filled in) and the text of each id.

    Raises:
        ModelFolderError: a wrong type, a double or negative id, a gap, an unknown part of a merge, or a
            limit passed.
    """
    model = document.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("type", "BPE"), str):
        raise refuse(where, "'model' is missing or has no type", "缺少 'model' 或其类型")
    # Dropout makes training samples vary; as part of a model's tokenizer it would make its ids random.
    model = {"type": "BPE", **model, "dropout": None} if model.get("type", "BPE") == "BPE" else model
    vocab = _vocabulary(model, where)
    added = _added_tokens(document, where)
    if model["type"] == "BPE":
        _check_merges(model, vocab, where)
    return {**document, "added_tokens": added, "model": model}, _tokens_by_id(vocab, added, where)


def _vocabulary(model: Json, where: Path | str) -> dict[str, int]:
    vocab = model.get("vocab")
    if isinstance(vocab, list):  # unigram: [token, score] in the order of ids
        if not all(isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) for row in vocab):
            raise refuse(where, "'model.vocab' must hold [token, score] pairs", "'model.vocab' 应为 [词元, 分数] 对")
        listed = {row[0]: index for index, row in enumerate(vocab)}
        if len(listed) < len(vocab):
            raise refuse(where, "a token stands twice in 'model.vocab'", "'model.vocab' 中有重复的词元")
        vocab = listed
    if not isinstance(vocab, dict) or not vocab:
        raise refuse(where, "'model.vocab' must map tokens to ids", "'model.vocab' 应为词元到编号的映射")
    if len(vocab) > TOKEN_LIMIT:
        raise refuse(
            where,
            f"{len(vocab)} tokens, more than {TOKEN_LIMIT}",
            f"{len(vocab)} 个词元，超过上限 {TOKEN_LIMIT}",
        )
    for token, index in vocab.items():
        _check_token(token, index, where)
    return vocab


def _check_token(token: Any, index: Any, where: Path | str) -> None:
    if type(index) is not int or not 0 <= index < TOKEN_LIMIT:
        raise refuse(where, f"the id of {token!r} is {index!r}", f"{token!r} 的编号为 {index!r}，无效")
    if not isinstance(token, str) or not token:
        raise refuse(where, f"id {index} has no text", f"编号 {index} 没有文本")
    if len(token) > LENGTH_LIMIT:
        raise refuse(
            where,
            f"the token of id {index} has {len(token)} characters",
            f"编号 {index} 的词元长达 {len(token)} 个字符",
        )


def _added_tokens(document: Json, where: Path | str) -> list[Json]:
    added = [] if document.get("added_tokens") is None else document["added_tokens"]
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise refuse(where, "'added_tokens' must be a list of objects", "'added_tokens' 应为对象列表")
    filled = []
    for token in added:
        _check_token(token.get("content"), token.get("id"), where)
        flags = {flag: token.get(flag, False) for flag in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        if not all(isinstance(value, bool) for value in flags.values()):
            raise refuse(
                where,
                f"a flag of {token['content']!r} is not true or false",
                f"{token['content']!r} 的标志应为 true 或 false",
            )
        filled.append({"id": token["id"], "content": token["content"], **flags})
    return filled


def _check_merges(model: Json, vocab: dict[str, int], where: Path | str) -> None:
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise refuse(where, "'model.merges' must be a list", "'model.merges' 应为列表")
    if len(merges) > MERGE_LIMIT:
        raise refuse(
            where,
            f"{len(merges)} merges, more than {MERGE_LIMIT}",
            f"{len(merges)} 条合并，超过上限 {MERGE_LIMIT}",
        )
    prefix = model.get("continuing_subword_prefix") or ""
    for number, merge in enumerate(merges):
        pair = merge.split(" ", 1) if isinstance(merge, str) else merge
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise refuse(
                where,
                f"merge {number} is not a pair: {merge!r:.60}",
                f"第 {number} 条合并不是一对：{merge!r:.60}",
            )
        for token in (*pair, pair[0] + pair[1].removeprefix(prefix)):
            if token not in vocab:
                raise refuse(
                    where,
                    f"merge {number} needs {token!r:.60}, which is not in the vocabulary",
                    f"第 {number} 条合并需要词表中没有的 {token!r:.60}",
                )


def _tokens_by_id(vocab: dict[str, int], added: list[Json], where: Path | str) -> list[str]:
    tokens: dict[int, str] = {}
    names: dict[str, int] = {}
    for token, index in [*vocab.items(), *((token["content"], token["id"]) for token in added)]:
        if tokens.setdefault(index, token) != token:
            raise refuse(
                where,
                f"id {index} belongs to both {tokens[index]!r} and {token!r}",
                f"编号 {index} 同属 {tokens[index]!r} 和 {token!r}",
            )
        if names.setdefault(token, index) != index:
            raise refuse(
                where,
                f"{token!r} has two ids, {names[token]} and {index}",
                f"{token!r} 有两个编号：{names[token]} 和 {index}",
            )
    if missing := next((index for index in range(len(tokens)) if index not in tokens), None):
        raise refuse(
            where,
            f"no token has id {missing}, though higher ids are used",
            f"没有编号为 {missing} 的词元，却有更大的编号",
        )
    if 0 not in tokens:
        raise refuse(where, "no token has id 0", "没有编号为 0 的词元")
    return [tokens[index] for index in range(len(tokens))]
