"""Pages on the disk: one lesson in a file, or all of them in a folder with an index that links them."""

from __future__ import annotations

import shlex
from pathlib import Path

from zhixing.errors import InputError
from zhixing.explain.lesson import Lesson, compute
from zhixing.explain.page import index_page, lesson_page
from zhixing.explain.topics import topics
from zhixing.language import tr
from zhixing.model_folder.durable import replace_file

INDEX = "index.html"


class PagePathError(InputError):
    """A page cannot be written at the path given."""


def write_page(lesson: Lesson, path: Path) -> Path:
    """Write one lesson to ``path``, a file that ends in ``.html``, or into a folder under the topic's name."""
    file = (
        path if path.suffix.lower() in (".html", ".htm") and not path.is_dir() else path / f"{lesson.topic.name}.html"
    )
    _write(file, lesson_page(lesson, {}, lesson.command("--html", str(path))))
    return file


def write_all(folder: Path) -> Path:
    """Write every topic's page and an index into ``folder``; return the path of the index."""
    if folder.suffix.lower() in (".html", ".htm") or folder.is_file():
        raise PagePathError(
            tr(
                f"--html {folder}: all topics need a folder, not a file; or name one topic",
                f"--html {folder}：全部主题须写入文件夹，而非文件；或者指定一个主题",
            )
        )
    known = topics()
    links = {"": INDEX, **{name: f"{name}.html" for name in known}}
    made_by = shlex.join(["zhixing", "explain", "--html", str(folder)])
    for topic in known.values():
        _write(folder / links[topic.name], lesson_page(compute(topic), links, made_by))
    _write(folder / INDEX, index_page(known, links, made_by))
    return folder / INDEX


def _write(file: Path, page: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise PagePathError(
            tr(f"--html {file}: {error.filename} is not a folder", f"--html {file}：{error.filename} 不是文件夹")
        ) from error
    try:
        replace_file(file, page)
    except OSError as error:
        raise PagePathError(
            tr(f"--html {file}: cannot be written ({error.strerror})", f"--html {file}：无法写入（{error.strerror}）")
        ) from error
