import math

import numpy as np
import pytest

from zhixing.errors import DataError, ZhixingError
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.evaluation.perplexity import score_documents
from zhixing.evaluation.windows import plan_windows
from zhixing.theory import measures


def _documents(count=40, longest=120, vocab=11, seed=0):
    rng = np.random.default_rng(seed)
    return [
        HeldOutDocument(rng.integers(0, vocab, n) ** 2 % vocab, int(2 * n + 1), str(n))
        for n in rng.integers(2, longest, count)
    ]


def test_uniform_model_costs_log_v_per_token(cache_model):
    documents = _documents()
    scores = score_documents(cache_model(11, 16, smoothing=1e12), documents)
    tokens = sum(len(d.ids) - 1 for d in documents)
    assert scores.perplexity == pytest.approx(11, rel=1e-5)
    assert scores.bits_per_byte == pytest.approx(math.log2(11) * tokens / scores.total_bytes, rel=1e-5)
    assert scores.total_tokens == tokens
    assert scores.documents == 40
    assert scores.tokens_per_second > 0


def test_unlimited_model_agrees_with_the_formulas(cache_model):
    documents, model = _documents(), cache_model(11)
    scores = score_documents(model, documents)
    log_probs = [model.score(d.ids[None])[0] for d in documents]
    everything = np.concatenate(log_probs)
    assert scores.perplexity == pytest.approx(measures.perplexity(everything), rel=1e-6)
    by_formula = measures.bits_per_byte(everything, scores.total_bytes)
    assert scores.bits_per_byte == pytest.approx(by_formula, rel=1e-6)
    for index, (document, values) in enumerate(zip(documents, log_probs, strict=True)):
        own = measures.bits_per_byte(values, document.text_bytes)
        assert scores.document_bits_per_byte()[index] == pytest.approx(own, rel=1e-6)


@pytest.mark.parametrize("stride", [0.1, 0.5, 1.0])
def test_windows_agree_with_scoring_each_token_by_itself(cache_model, stride):
    documents, model, context = _documents(8), cache_model(11, 20), 20
    scores = score_documents(model, documents, stride=stride, batch_tokens=100)
    for index, document in enumerate(documents):
        loss = 0.0
        for start, end, skip in plan_windows(len(document.ids), context, round(stride * context)):
            for t in range(start + 1 + skip, end):
                expected, _ = model.next_log_probs(document.ids[None, start:t], model.initial_state(1))
                loss -= float(expected[0, document.ids[t]])
        assert scores.losses[index] == pytest.approx(loss, rel=1e-6)
    assert max(model.scored_lengths) <= context + 1


def test_result_does_not_depend_on_the_batch(cache_model):
    documents = _documents()
    one_by_one = score_documents(cache_model(11, 16), documents, batch_tokens=1)
    batched = score_documents(cache_model(11, 16), documents, batch_tokens=4096)
    np.testing.assert_allclose(one_by_one.losses, batched.losses, rtol=1e-12)


def test_documents_may_be_a_generator_and_a_text_may_be_empty(cache_model):
    documents = [*_documents(5), HeldOutDocument(np.array([3, 3]), 0, "")]
    scores = score_documents(cache_model(11, 16), (d for d in documents))
    assert scores.documents == 6
    assert scores.losses[-1] > 0
    assert np.isfinite(scores.document_bits_per_byte()).all()


@pytest.mark.parametrize("documents", [[], [HeldOutDocument(np.array([3, 3]), 0, "")]])
def test_no_text_is_an_error(cache_model, documents):
    with pytest.raises(DataError, match=r"no held-out text|没有可供评估"):
        score_documents(cache_model(11), documents)


def test_ids_of_another_vocabulary_are_an_error(cache_model):
    with pytest.raises(DataError, match=r"id 10.*0 to 4|编号 10"):
        score_documents(cache_model(5), [HeldOutDocument(np.array([1, 10]), 1, "")])


def test_a_model_that_gives_no_number_is_an_error(cache_model):
    broken = cache_model(11, smoothing=float("nan"))
    with pytest.raises(ZhixingError, match=r"document 1|第 1 篇"):
        score_documents(broken, _documents(2))
