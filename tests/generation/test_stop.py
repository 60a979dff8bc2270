"""Stop strings must not depend on how the text is cut."""

from itertools import pairwise

import numpy as np
import pytest

from zhixing.generation.stop import StopStrings


def run(stops, pieces):
    watch, shown = StopStrings(stops), []
    for piece in pieces:
        shown.append(watch.push(piece))
        if watch.found is not None:
            return "".join(shown), watch.found
    return "".join(shown) + watch.finish(), None


def slow(stops, text):
    """Oracle: the first end at which some stop string is complete; the longest of those that end there."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return text[: end - len(longest)], longest
    return text, None


def test_any_cut_gives_the_same():
    random = np.random.default_rng(0)
    stopped = 0
    for _ in range(3_000):
        text = "".join(random.choice(list("ab好\n"), random.integers(1, 14)))
        stops = ["".join(random.choice(list("ab好\n"), random.integers(1, 5))) for _ in range(random.integers(0, 4))]
        cuts = [0, *sorted(random.integers(0, len(text) + 1, 4)), len(text)]
        pieces = [text[i:j] for i, j in pairwise(cuts)]
        expected = slow(stops, text)
        stopped += expected[1] is not None
        assert run(stops, pieces) == expected, (text, stops, pieces)
    assert 500 < stopped < 2_900


def test_holds_back_only_a_possible_beginning():
    watch = StopStrings(["\nUser:"])
    assert watch.push("hello\nUs") == "hello"
    assert watch.push("ually") == "\nUsually"
    assert watch.push(" yes\nUser: x") == " yes"
    assert watch.found == "\nUser:"
    assert watch.push("more") == ""


def test_the_end_lets_out_what_was_held():
    watch = StopStrings(["END"])
    assert watch.push("the EN") == "the "
    assert watch.finish() == "EN"


@pytest.mark.parametrize("stops", [(), ("x",)])
def test_no_stop_string_no_delay(stops):
    assert StopStrings(stops).push("abc") == "abc"
