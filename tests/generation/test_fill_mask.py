"""Filling masks: shapes, refusals. What it gives is compared with transformers' in ``tests/parity/test_bert.py``."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import zhixing
from zhixing.errors import ConfigError, ContextLengthError, InputError
from zhixing.generation.fill_mask import FillMaskPipeline
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.encoder import EncoderModel
from zhixing.models.ngram import NgramModel
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.specials import MASK

TOKENIZER = ByteTokenizer(extra_tokens=(MASK,))
V = TOKENIZER.vocab_size + 3  # a padded vocabulary is usual


def encoder(**fields):
    torch.manual_seed(0)
    module = build_decoder(BertSettings(vocab_size=V, context_length=12, layers=1, width=8, heads=2, **fields))
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_(std=0.5)
    return EncoderModel(module)


@pytest.fixture(scope="module")
def fill():
    return zhixing.pipeline("fill-mask", encoder(), TOKENIZER)


def test_one_mask_many_masks_many_texts(fill):
    assert isinstance(fill, FillMaskPipeline) and fill.task == "fill-mask"
    one = fill("ab<|mask|>d", top_k=4)
    assert len(one) == 4 and set(one[0]) == {"score", "token", "token_str", "sequence"}
    assert all(first["score"] >= second["score"] for first, second in itertools.pairwise(one))
    assert one[0]["sequence"] == TOKENIZER.decode([*b"ab", one[0]["token"], *b"d"])
    two = fill("a<|mask|>c<|mask|>")
    assert [len(part) for part in two] == [5, 5]
    assert fill(["ab<|mask|>d", "a<|mask|>c<|mask|>"], top_k=4)[0] == one


def test_every_token_but_the_special_ones_is_offered_once(fill):
    found = fill("ab<|mask|>d", top_k=10**6)
    assert sorted(one["token"] for one in found) == list(range(256))
    assert 0.5 < sum(one["score"] for one in found) < 1


def test_the_mask_takes_the_blank_before_it(fill):
    assert fill.encode("a <|mask|> b").tolist() == [TOKENIZER.separator_id, ord("a"), V - 4, ord(" "), ord("b")]
    np.testing.assert_array_equal(fill.encode("a<|mask|> b"), fill.encode("a  <|mask|> b"))


def test_refusals(fill):
    with pytest.raises(InputError, match=r"no <\|mask\|> in: ab"):
        fill("ab")
    with pytest.raises(InputError, match="top_k"):
        fill("a<|mask|>", top_k=0)
    with pytest.raises(ContextLengthError):
        fill("abcdefghijkl<|mask|>")
    with pytest.raises(InputError, match="no masked-LM head"):
        zhixing.pipeline("fill-mask", encoder(head=False), TOKENIZER)("a<|mask|>")
    with pytest.raises(InputError, match="no mask token"):
        zhixing.pipeline("fill-mask", encoder(), ByteTokenizer())
    with pytest.raises(InputError, match="tokenizer="):
        zhixing.pipeline("fill-mask", encoder())
    with pytest.raises(ConfigError, match="fill-mask"):
        zhixing.pipeline("fill-masks", encoder(), TOKENIZER)
    ngram = NgramModel.fit([np.array([256, 5, 6])], 300, 256, order=2)
    with pytest.raises(InputError, match="ngram"):
        zhixing.pipeline("fill-mask", ngram, TOKENIZER)
