"""Pages on the disk."""

from __future__ import annotations

import re

import pytest

from zhixing.explain.lesson import lesson
from zhixing.explain.site import PagePathError, write_all, write_page
from zhixing.explain.topics import topics


def test_a_page_goes_into_a_file_or_a_folder(tmp_path) -> None:
    found = lesson("temperature", ["temperature=2"])
    assert write_page(found, tmp_path / "a" / "x.html") == tmp_path / "a" / "x.html"
    assert write_page(found, tmp_path / "b") == tmp_path / "b" / "temperature.html"
    page = (tmp_path / "b" / "temperature.html").read_text(encoding="utf-8")
    assert f"zhixing explain temperature --set temperature=2 --html {tmp_path / 'b'}" in page
    assert '<tr class="changed">' in page


def test_all_topics_and_an_index_that_links_them(tmp_path) -> None:
    index = write_all(tmp_path / "pages")
    links = re.findall(r'class="card" href="([^"]+)"', index.read_text(encoding="utf-8"))
    assert links == [f"{name}.html" for name in topics()] or set(links) == {f"{name}.html" for name in topics()}
    for name, topic in topics().items():
        page = (tmp_path / "pages" / f"{name}.html").read_text(encoding="utf-8")
        targets = set(re.findall(r'href="([^"]+)"', page))
        assert targets == {"index.html", *(f"{other}.html" for other in topic.related if other in topics())}


def test_a_path_that_cannot_take_it_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for path in (tmp_path / "all.html", tmp_path / "file"):
        with pytest.raises(PagePathError, match="folder"):
            write_all(path)
    with pytest.raises(PagePathError, match="not a folder"):
        write_page(lesson("temperature"), tmp_path / "file" / "x.html")


def test_what_a_reader_sets_is_escaped(tmp_path) -> None:
    hostile = "<script>alert(1)</script>"
    found = lesson("temperature", [f'tokens=["{hostile}", b]', "scores=[1, 2]"])
    page = write_page(found, tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page


def test_a_path_that_no_file_can_have_is_the_users_to_mend(tmp_path):
    with pytest.raises(PagePathError, match="--html"):
        write_page(lesson("attention"), tmp_path / ("x" * 249 + ".html"))
