"""The inner loops: compiled and plain Python compute the same; the sigmoid is one."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from zhixing.models import word_vector_kernels as kernels

KINDS = [{}, {"kind": "cbow"}, {"loss": "hierarchical_softmax"}, {"subwords": True, "buckets": 50}, {"kind": "glove"}]
WITHOUT = """
import json, sys
sys.modules["numba"] = None
import numpy as np
from zhixing.models.word_vector_kernels import COMPILED
from zhixing.models.word_vectors import WordVectorSettings
from zhixing.pretraining.word_vector_learner import learn
assert not COMPILED
found = []
for given in json.loads(sys.argv[2]):
    settings = WordVectorSettings(width=8, min_count=1, epochs=2, **given)
    found.append(learn([["a", "b", "c", "b", "a", "d"]] * 30, settings, 3).vectors)
np.save(sys.argv[1], np.stack(found))
"""


def test_errors_are_the_rate_times_label_minus_sigmoid() -> None:
    x = np.linspace(-30, 30, 2001).astype(np.float32)
    scores, labels = x.copy(), np.zeros(len(x), np.float32)
    kernels.errors_of(scores, 1, len(x), labels, np.float32(-1))
    assert np.abs(scores - 1 / (1 + np.exp(-x.astype(np.float64)))).max() < 3e-7


@pytest.mark.skipif(not kernels.COMPILED, reason="numba is not installed")
def test_python_without_numba_computes_the_same(tmp_path) -> None:
    from zhixing.models.word_vectors import WordVectorSettings
    from zhixing.pretraining.word_vector_learner import learn

    subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, str(tmp_path / "v.npy"), json.dumps(KINDS)],
        check=True,
        timeout=120,
    )
    for slow, given in zip(np.load(tmp_path / "v.npy"), KINDS, strict=True):
        settings = WordVectorSettings(width=8, min_count=1, epochs=2, **given)
        fast = learn([["a", "b", "c", "b", "a", "d"]] * 30, settings, 3).vectors
        assert np.allclose(fast, slow, atol=1e-5), given
