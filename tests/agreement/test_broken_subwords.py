"""Rows of WordPiece and unigram catch a wrong score, a lost mark, a wrong sum, a wrong loss, a greedy cutting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.agreement.families.subwords import ROWS
from zhixing.agreement.run import check
from zhixing.tokenizers import unigram, unigram_lattice, unigram_seeds, unigram_training, wordpiece, wordpiece_training

CPU = torch.device("cpu")
SCORES = wordpiece_training.LinkedWords.scores
LEARN = wordpiece_training.learn_wordpieces
WORDPIECES, PIECES = wordpiece.from_pieces, unigram.from_pieces
SEEDS = unigram_seeds.seed_lattice
POSTERIORS, LOSSES = unigram_lattice.Block.posteriors, unigram_lattice.Block.losses
COUNTS = unigram_lattice.Lattice.expected_counts
SHARES = unigram_training.log_shares


def _scores(change):
    return lambda patch: patch.setattr(wordpiece_training.LinkedWords, "scores", change)


def _posteriors(change):
    return lambda patch: patch.setattr(
        unigram_lattice.Block, "posteriors", lambda block, p: change(*POSTERIORS(block, p))
    )


BROKEN = {
    ("wordpiece_scores", "squared"): _scores(lambda self, score: SCORES(self, score) ** 2),
    ("wordpiece_gains", "total left out"): _scores(
        lambda self, score: SCORES(self, score) - self._pairs.count * np.log(self._total)
    ),
    ("learn_wordpieces", "the most frequent"): _scores(lambda self, score: self._pairs.count.astype(float)),
    ("encode_wordpiece", "all begin"): lambda patch: patch.setattr(
        wordpiece, "from_pieces", lambda learned, pre: WORDPIECES([(False, p) for p in {p for _, p in learned}], pre)
    ),
    ("seed_pieces", "once is not enough"): lambda patch: patch.setattr(
        unigram_seeds, "seed_lattice", lambda words, longest, least, number: SEEDS(words, longest, 2, number)
    ),
    ("unigram_log_likelihood", "sign"): _posteriors(lambda posterior, totals: (posterior, -totals)),
    ("unigram_expected_counts", "squared"): _posteriors(lambda posterior, totals: (posterior**2, totals)),
    ("unigram_em_step", "not divided"): lambda patch: patch.setattr(
        unigram_training, "log_shares", lambda counts: SHARES(counts) + np.log(counts.sum())
    ),
    ("pruning_loss", "one half"): lambda patch: patch.setattr(
        unigram_lattice.Block, "losses", lambda block, p: LOSSES(block, p) / 2
    ),
    ("prune", "the worst stay"): lambda patch: patch.setattr(
        unigram_lattice.Block, "losses", lambda block, p: -LOSSES(block, p)
    ),
    ("encode_unigram", "long pieces first"): lambda patch: patch.setattr(
        unigram, "from_pieces", lambda pieces, pre: PIECES([(piece, -1.0) for piece, _ in pieces], pre)
    ),
}


@pytest.mark.parametrize("name, how", BROKEN)
def test_broken_code_is_caught(name, how, monkeypatch) -> None:
    (row,) = (row for row in ROWS if row.name == f"tokenization.{name}")
    assert check(row, CPU, torch.float32, seed=0).ok
    BROKEN[name, how](monkeypatch)
    assert not check(row, CPU, torch.float32, seed=0).ok


def test_every_row_has_something_broken() -> None:
    assert {f"tokenization.{name}" for name, _ in BROKEN} == {row.name for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_hold_for_every_seed(row) -> None:
    for seed in range(20):
        result = check(row, CPU, torch.float32, seed=seed)
        assert result.ok, (seed, result)
