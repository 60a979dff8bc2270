"""What text to read, and how to treat what is wrong with it."""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import field_validator, model_validator

from zhixing.config import Settings, setting
from zhixing.language import tr

MIB = 1 << 20


class TextSettings(Settings):
    """Which text is read and how; the caps keep a single file from exhausting the machine."""

    paths: tuple[str, ...] = setting(
        (),
        "files, folders or globs; empty: the Python standard library's own source and documentation",
        "文件、文件夹或通配符；留空：使用 Python 标准库自身的源码与文档",
    )
    text_field: str = setting(
        "text",
        "the field of a .jsonl, .csv or .parquet row that holds the text",
        ".jsonl、.csv、.parquet 每行中存放文本的字段",
        min_length=1,
    )
    source_field: str = setting(
        "",
        "of rows that are pairs for an encoder-decoder: the field that holds the source; empty: no pairs",
        "供编码器–解码器学习的成对数据：每行中存放源文的字段；留空：不是成对数据",
    )
    target_field: str = setting(
        "", "of rows that are pairs: the field that holds the target", "成对数据：每行中存放目标的字段"
    )
    on_error: Literal["fail", "skip"] = setting(
        "fail",
        "a broken row or file: stop and name it, or skip it and count it",
        "遇到损坏的行或文件：停下并指明，或跳过并计数",
    )
    encoding: str = setting(
        "auto",
        "auto recognises UTF-8, UTF-16, UTF-32 and GB18030; or a codec's name such as big5",
        "auto 可识别 UTF-8、UTF-16、UTF-32 与 GB18030；也可写编码名，如 big5",
    )
    validation_paths: tuple[str, ...] = setting(
        (),
        "files, folders or globs that are held out whole, in place of validation_fraction; what stands in them is not "
        "learned from where it stands in paths too",
        "整体留作验证的文件、文件夹或通配符，取代 validation_fraction；其中的内容即使也在 paths 中，也不用于学习",
    )
    validation_fraction: float = setting(
        0.05,
        "share of the documents held out, chosen by a hash of each document; unused if validation_paths are given",
        "留出用于验证的文档比例，按文档内容的哈希选取；给出 validation_paths 时不用",
        ge=0,
        lt=1,
    )
    deduplicate: bool = setting(True, "keep only the first of several equal documents", "内容相同的文档只保留第一份")
    max_document_bytes: int = setting(
        MIB,
        "a longer document is divided at a paragraph or a line",
        "更长的文档在段落或换行处分开",
        unit="bytes",
        ge=1024,
    )
    max_line_bytes: int = setting(
        16 * MIB,
        "the longest line, row or HTML page that is held in memory",
        "可读入内存的最长的一行、一条记录或一个 HTML 页面",
        unit="bytes",
        ge=1024,
    )
    max_decompressed_bytes: int = setting(
        64 * 1024 * MIB,
        "the most that one compressed file may expand to",
        "单个压缩文件解压后的上限",
        unit="bytes",
        ge=1,
    )
    max_compression_ratio: float = setting(
        200.0,
        "the most that one compressed file may grow, counted beyond its first 16 MiB",
        "单个压缩文件的最大膨胀倍数（解压超过 16 MiB 后开始检查）",
        ge=1,
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value != "auto":
            try:
                is_text = codecs.lookup(value)._is_text_encoding
            except LookupError:
                is_text = False
            if not is_text:
                raise ValueError(tr("not the name of a text encoding", "不是文本编码的名称"))
        return value

    @property
    def pair_fields(self) -> tuple[str, ...]:
        """The fields of source and target; empty: rows are no pairs."""
        return (self.source_field, self.target_field) if self.source_field else ()

    @model_validator(mode="after")
    def _both_halves_of_a_pair(self) -> TextSettings:
        if bool(self.source_field) != bool(self.target_field):
            raise ValueError(
                tr(
                    "source_field and target_field go together: name both, or neither",
                    "source_field 与 target_field 须同时给出，或都不给",
                )
            )
        if self.source_field and self.source_field == self.target_field:
            raise ValueError(
                tr(
                    f"source_field and target_field are both '{self.source_field}'; name two fields",
                    f"source_field 与 target_field 同为 '{self.source_field}'；请指明两个字段",
                )
            )
        return self
