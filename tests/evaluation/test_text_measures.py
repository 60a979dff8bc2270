"""BLEU, ROUGE, chrF and WER against the packages the field uses, in English and Chinese."""

import random
import time

import pytest

from zhixing.errors import ConfigError, DataError
from zhixing.evaluation import text_measures as measures

ENGLISH = [
    "The cat sat on the mat, didn't it?",
    "It costs $3.50 - or 1,000 yen (roughly).",
    "A short one",
    "Whatever is said of her, she never answers before noon.",
    "no",
]
CHINESE = [
    "猫坐在垫子上。",
    "他说：“今天3.5度，很冷！”",
    "狗",
    "我们下午去北京大学听 Manning 教授的报告。",
    "不，谢谢。",
]


def damaged(texts, seed, units):
    """Copies with units dropped, doubled and exchanged."""
    rng = random.Random(seed)
    made = []
    for text in texts:
        parts = [part for part in units(text) for _ in range(rng.choices((0, 1, 2), (2, 9, 1))[0])]
        if len(parts) > 2 and rng.random() < 0.5:
            at = rng.randrange(len(parts) - 1)
            parts[at], parts[at + 1] = parts[at + 1], parts[at]
        made.append((" " if units is str.split else "").join(parts))
    return made


CORPORA = {
    "13a": (damaged(ENGLISH * 3, 0, str.split), ENGLISH * 3),
    "spaces": (damaged(ENGLISH * 3, 1, str.split), ENGLISH * 3),
    "zh": (damaged(CHINESE * 3, 2, list), CHINESE * 3),
    "characters": (damaged(CHINESE * 3, 3, list), CHINESE * 3),
}
SACREBLEU = {"13a": "13a", "spaces": "none", "zh": "zh", "characters": "char"}
SMOOTHING = {"exponential": "exp", "none": "none", "add-one": "add-k"}


@pytest.mark.parametrize("smoothing", SMOOTHING)
@pytest.mark.parametrize("tokenisation", CORPORA)
def test_bleu_is_sacrebleus(tokenisation, smoothing):
    oracle = pytest.importorskip("sacrebleu")
    metric = oracle.BLEU(tokenize=SACREBLEU[tokenisation], smooth_method=SMOOTHING[smoothing])
    candidates, references = CORPORA[tokenisation]
    others = damaged(references, 9, str.split)
    several = [list(pair) for pair in zip(references, others, strict=True)]
    # The whole corpus with one and two references, and single texts, where zeros need smoothing.
    cases = [(candidates, [[r] for r in references]), (candidates, several)]
    cases += [([c], [rs]) for c, rs in zip(candidates, several, strict=True) if c and all(rs)]
    for texts, each in cases:
        ours = measures.bleu(texts, each, tokenisation=tokenisation, smoothing=smoothing)
        theirs = metric.corpus_score(texts, [list(column) for column in zip(*each, strict=True)])
        assert 100 * ours.score == pytest.approx(theirs.score, abs=1e-9)
        assert 100 * ours.brevity_penalty == pytest.approx(100 * theirs.bp, abs=1e-9)
        assert (ours.candidate_length, ours.reference_length) == (theirs.sys_len, theirs.ref_len)


@pytest.mark.parametrize("tokenisation", CORPORA)
def test_chrf_is_sacrebleus(tokenisation):
    oracle = pytest.importorskip("sacrebleu")
    candidates, references = CORPORA[tokenisation]
    several = [list(pair) for pair in zip(references, damaged(references, 9, str.split), strict=True)]
    for texts, each in [(candidates, several), *[([c], [rs]) for c, rs in zip(candidates, several, strict=True)]]:
        ours = measures.chrf(texts, each)
        theirs = oracle.CHRF().corpus_score(texts, [list(column) for column in zip(*each, strict=True)]).score
        assert 100 * ours == pytest.approx(theirs, abs=1e-9)


def test_rouge_is_rouge_scores():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    candidates, references = CORPORA["13a"]
    for candidate, reference in zip(candidates, references, strict=True):
        ours, theirs = measures.rouge([candidate], [reference]), scorer.score(reference, candidate)
        for mine, name in ((ours.rouge_1, "rouge1"), (ours.rouge_2, "rouge2"), (ours.rouge_l, "rougeL")):
            found = (mine.precision, mine.recall, mine.f1)
            assert found == pytest.approx(
                (theirs[name].precision, theirs[name].recall, theirs[name].fmeasure), abs=1e-12
            )


def test_rouge_of_a_corpus_is_the_mean_and_of_several_references_the_best():
    candidates, references = ["a b c", "d"], [["x y z", "a b"], ["d"]]
    found = measures.rouge(candidates, references)
    assert found.rouge_1.f1 == pytest.approx((0.8 + 1.0) / 2)
    assert found.rouge_2.f1 == pytest.approx((2 / 3 + 0.0) / 2)


def test_rouge_reads_chinese():
    """The usual package keeps only a-z and 0-9, and gives 0 to a perfect Chinese summary."""
    assert measures.rouge(["猫坐在垫子上。"], ["猫坐在垫子上"]).rouge_l.f1 == 1.0
    assert measures.rouge(["狗坐在垫子上"], ["猫坐在垫子上"]).rouge_1.f1 == pytest.approx(5 / 6)


@pytest.mark.parametrize("tokenisation", ["spaces", "characters"])
def test_error_rates_are_jiwers(tokenisation):
    oracle = pytest.importorskip("jiwer")
    candidates, references = CORPORA["spaces" if tokenisation == "spaces" else "characters"]
    squeezed = [["".join(text.split()) for text in texts] for texts in (references, candidates)]
    theirs = oracle.wer(references, candidates) if tokenisation == "spaces" else oracle.cer(*squeezed)
    assert measures.word_error_rate(candidates, references, tokenisation=tokenisation) == pytest.approx(theirs)


def test_chinese_cut_at_spaces_is_one_word():
    """Why the tokenisation must be named: one wrong character out of eight, and nothing is right."""
    candidate, reference = ["狗坐在红垫子上。"], ["猫坐在红垫子上。"]
    assert measures.bleu(candidate, reference, tokenisation="spaces", smoothing="none").score == 0.0
    assert measures.bleu(candidate, reference, tokenisation="zh", smoothing="none").score > 0.8
    assert measures.word_error_rate(candidate, reference, tokenisation="spaces") == 1.0
    assert measures.word_error_rate(candidate, reference, tokenisation="characters") == 1 / 8


def test_the_signature_says_how():
    assert measures.bleu(["a"], ["a"]).signature == "BLEU-4|tokens:13a|smoothing:exponential|texts:1"


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: measures.bleu("one text", ["a"]), DataError, "lists"),
        (lambda: measures.bleu(["a", "b"], ["a"]), DataError, "2 texts but 1 references"),
        (lambda: measures.chrf([], []), DataError, "at least one"),
        (lambda: measures.rouge(["a", "b"], [["a"], []]), DataError, "text 1 has no reference"),
        (lambda: measures.word_error_rate(["a"], [" "], tokenisation="spaces"), DataError, "no token"),
        (lambda: measures.bleu(["a"], ["a"], tokenisation="zn"), ConfigError, "'zh'"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_a_test_set_takes_seconds():
    """Two thousand sentences of thirty words, all measures."""
    rng = random.Random(0)
    words = [f"w{i}" for i in range(3000)]
    references = [" ".join(rng.choices(words, k=30)) for _ in range(2000)]
    candidates = damaged(references, 1, str.split)
    start = time.perf_counter()
    assert 0.3 < measures.bleu(candidates, references).score < 0.9
    assert 0.5 < measures.rouge(candidates, references).rouge_l.f1 < 1.0
    assert 0.1 < measures.word_error_rate(candidates, references, tokenisation="spaces") < 0.5
    assert 0.5 < measures.chrf(candidates, references) < 1.0
    assert time.perf_counter() - start < 15
