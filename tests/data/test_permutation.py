import numpy as np
import pytest

from zhixing.data.permutation import permute


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 1000, 65_537])
def test_every_place_is_hit_once(size: int) -> None:
    places = np.arange(size)
    for epoch in range(3):
        assert np.array_equal(np.sort(permute(places, size, seed=7, epoch=epoch)), places)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    places = np.arange(1000)
    first = permute(places, 1000, seed=1, epoch=0)
    assert np.array_equal(first, permute(places, 1000, seed=1, epoch=0))
    assert np.mean(first == permute(places, 1000, seed=1, epoch=1)) < 0.02
    assert np.mean(first == permute(places, 1000, seed=2, epoch=0)) < 0.02


def test_one_place_alone_gives_what_all_together_give() -> None:
    places = np.arange(1003)
    together = permute(places, 1003, seed=3, epoch=5)
    assert [int(permute(places[k : k + 1], 1003, 3, 5)[0]) for k in range(0, 1003, 100)] == together[::100].tolist()


def test_it_mixes() -> None:
    """Neighbours are sent about as far apart as in a random order (n/3 on average), without trend."""
    size = 10_000
    order = permute(np.arange(size), size, seed=0, epoch=0)
    assert abs(np.abs(np.diff(order)).mean() / (size / 3) - 1) < 0.05
    assert abs(np.corrcoef(np.arange(size), order)[0, 1]) < 0.05


def test_the_order_is_a_promise() -> None:
    """A saved cursor means something only while these numbers stay."""
    assert permute(np.arange(8), 100, seed=42, epoch=3).tolist() == [81, 82, 65, 64, 70, 32, 63, 78]
