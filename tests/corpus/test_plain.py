from hypothesis import given
from hypothesis import strategies as st

from zhixing.corpus.document import Problem
from zhixing.corpus.plain import divide
from zhixing.corpus.settings import TextSettings

SMALL = TextSettings(max_document_bytes=1024, max_line_bytes=2048)


@given(st.lists(st.text("a字\n ", max_size=400), max_size=40))
def test_the_parts_joined_are_the_text(texts: list[str]) -> None:
    parts = list(divide("f", texts, SMALL))
    assert not any(isinstance(part, Problem) for part in parts) or len("".join(texts).encode()) > 2048
    if not any(isinstance(part, Problem) for part in parts):
        assert "".join(str(part) for part in parts) == "".join(texts)


def test_cuts_fall_behind_blank_lines_first() -> None:
    paragraph = "word " * 60 + "\nline\n\n"
    parts = [str(part) for part in divide("f", [paragraph * 10], SMALL)]
    assert len(parts) > 2
    assert all(part.endswith("\n\n") and len(part) <= 1024 for part in parts)


def test_a_line_over_the_cap_is_named_and_the_rest_is_kept() -> None:
    pieces = ["first\n", "x" * 5000, "x" * 5000, "\nlast\n"]
    parts = list(divide("f", pieces, SMALL))
    problems = [part for part in parts if isinstance(part, Problem)]
    assert [problem.source for problem in problems] == ["f:2"]
    assert "".join(part for part in parts if isinstance(part, str)) == "first\nlast\n"


def test_a_long_line_followed_by_text_in_the_same_piece() -> None:
    parts = list(divide("f", ["x" * 5000 + "\nlast\n"], SMALL))
    assert [str(part) for part in parts[1:]] == ["last\n"]
    assert isinstance(parts[0], Problem)
    assert parts[0].source == "f:1"
