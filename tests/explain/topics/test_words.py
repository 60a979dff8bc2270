"""The worked examples of word vectors and sub-words: steps go downhill, trees and shares are whole."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.config import load_settings
from zhixing.errors import ConfigError
from zhixing.explain.topics.co_occurrence import CoOccurrenceInputs, GloveInputs, co_occurrence, glove
from zhixing.explain.topics.subwords import FastTextInputs, fasttext, wordpiece
from zhixing.explain.topics.unigram import UnigramInputs, unigram_tokenizer
from zhixing.explain.topics.vocabulary_sums import HierarchicalSoftmaxInputs, hierarchical_softmax, negative_sampling
from zhixing.explain.topics.words import VectorInputs, cbow, skip_gram


def values(topic, inputs=None):
    return {step.says: step.value for step in topic.example(inputs or topic.inputs())}


@pytest.mark.parametrize(
    "topic, before, after",
    [
        (skip_gram, "the loss of this pair", "the loss after one step"),
        (cbow, "the loss", "the loss after one step"),
        (glove, "the loss", "the loss after one step of all four"),
    ],
)
def test_a_step_goes_downhill(topic, before, after):
    found = values(topic())
    assert found[after] < found[before]


@pytest.mark.parametrize("place, neighbours", [(0, ("king",)), (1, ("the", "rules")), (2, ("king",))])
def test_the_window_ends_with_the_text(place, neighbours):
    assert VectorInputs(place=place).context() == neighbours
    assert all(values(topic(), VectorInputs(place=place)) for topic in (skip_gram, cbow))


def leaves(tree):
    return [tree.text] if not tree.children else [leaf for child in tree.children for leaf in leaves(child)]


@pytest.mark.parametrize("words", [2, 3, 5, 8])
def test_every_word_is_one_leaf_and_their_shares_are_one(words):
    inputs = HierarchicalSoftmaxInputs(
        words=tuple("abcdefgh"[:words]),
        counts=tuple(range(1, words + 1)),
        nodes=((0.3, -0.7),) * (words - 1),
        target="b",
    )
    tree = hierarchical_softmax().picture(inputs)
    assert sorted(leaf.split()[2] for leaf in leaves(tree)) == list(inputs.words)
    found = values(hierarchical_softmax(), inputs)
    assert found["all words: together one"].sum() == pytest.approx(1)
    assert -np.log(found["their product"]) == pytest.approx(found["the loss"])


def test_negative_sampling_sums_its_surprises():
    found = values(negative_sampling())
    surprise = found["surprise at the truth: real for the first, drawn for the others"]
    assert found["their sum is the loss"] == pytest.approx(surprise.sum())


def test_co_occurrence_is_drawn_as_computed():
    picture = co_occurrence().picture(CoOccurrenceInputs())
    np.testing.assert_array_equal(picture.values, values(co_occurrence())["one over the distance"])


def test_words_that_share_parts_are_alike():
    cosines = fasttext().picture(FastTextInputs()).values[0]
    assert cosines[1] > 0.3 > abs(cosines[3])


def test_the_word_is_cut_into_pieces_that_were_learned():
    found = values(wordpiece())
    assert found["'bugs', cut by the longest match"] == "bu ##gs"
    assert {"bu", "##gs"} <= set(found["learned, in this order"].split())


def test_the_shares_of_all_ways_are_one():
    picture = unigram_tokenizer().picture(UnigramInputs())
    (shares,) = picture.series.values()
    assert shares.sum() == pytest.approx(1)
    found = values(unigram_tokenizer())
    assert picture.labels[0] == found["the best way to cut 'hugs'"]
    assert found["and after learning"] > found["log-likelihood of the text at first"]


@pytest.mark.parametrize(
    "kind, override, message",
    [
        (VectorInputs, "noise=[dog]", "none of the words"),
        (VectorInputs, "place=3", "place must be 0 to 2"),
        (VectorInputs, "outputs=[[1.0]]", "outputs must have 5 rows of 2"),
        (GloveInputs, "counts=[[1.0]]", "counts must have 3 rows"),
        (GloveInputs, "biases=[1.0]", "biases must have 3"),
        (CoOccurrenceInputs, "text=[a, b, c, d, e, f, g, h, i, j, k]", "at most 10 different words"),
        (HierarchicalSoftmaxInputs, "target=dog", "target 'dog' is none of"),
        (FastTextInputs, "shortest=5", "must not exceed longest"),
        (UnigramInputs, "word=hat", r"letters \['a', 't'\] stand in no word"),
    ],
)
def test_inputs_that_do_not_fit_are_named(kind, override, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(kind, None, [override])
