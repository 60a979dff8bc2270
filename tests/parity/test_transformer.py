"""The Transformer equal to transformers' Marian in both directions, on random models: logits, padding, caches, ids."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from zhixing.errors import ModelFolderError  # noqa: E402
from zhixing.generation.beam import beam_search  # noqa: E402
from zhixing.generation.generate import generate  # noqa: E402
from zhixing.generation.settings import GenerationSettings  # noqa: E402
from zhixing.model_folder import write_folder  # noqa: E402
from zhixing.models.interop.transformer import from_config  # noqa: E402
from zhixing.models.load import load_model  # noqa: E402
from zhixing.models.save import companion_files, neural_files  # noqa: E402
from zhixing.models.transformer import Transformer, TransformerSettings  # noqa: E402
from zhixing.models.translator import Translator  # noqa: E402
from zhixing.tokenizers.bytes import ByteTokenizer  # noqa: E402

TOKENIZER = ByteTokenizer()
V = TOKENIZER.vocab_size
SHAPE = {"vocab_size": V, "layers": 2, "width": 24, "heads": 3, "inner_width": 20, "context_length": 63}
OURS = {
    "published": TransformerSettings(**SHAPE),
    "unscaled-silu": TransformerSettings(**SHAPE, scaled=False, activation="silu", start_id=3),
    "deeper-decoder": TransformerSettings(**SHAPE, decoder_layers=3, activation="gelu", target_length=20),
    "shallower-decoder-biased": TransformerSettings(**SHAPE, decoder_layers=1, head_bias=True),
}
LENGTHS = [(1, 1), (7, 5), (13, 2), (40, 33)]


def ids(batch, length, seed):
    return torch.randint(4, V - 1, (batch, length), generator=torch.Generator().manual_seed(seed))


def to_folder(settings, folder):
    torch.manual_seed(2)
    module = Transformer(settings)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.25)
    files = neural_files(module, settings, TOKENIZER.separator_id)
    write_folder(folder, {**files, **companion_files(TOKENIZER)}, facts={})
    return module.eval()


@pytest.fixture(scope="module", params=OURS)
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "model"
    ours = to_folder(OURS[request.param], folder)
    theirs, told = transformers.MarianMTModel.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    return ours, theirs.eval()


def our_logits(ours, source, target, lengths=None):
    hidden = ours.decode(target, ours.encode(source, lengths), lengths)
    return hidden @ ours.head_weight.T


@pytest.mark.parametrize(("source_length", "target_length"), LENGTHS)
def test_logits_are_theirs(both, source_length, target_length):
    ours, theirs = both
    source, target = ids(3, source_length, 1), ids(3, target_length, 2)
    with torch.no_grad():
        expected = theirs(input_ids=source, decoder_input_ids=target).logits
        torch.testing.assert_close(our_logits(ours, source, target), expected, rtol=1e-5, atol=1e-5)


def test_padded_sources_are_theirs_under_their_mask(both):
    ours, theirs = both
    source, target, lengths = ids(4, 11, 3), ids(4, 6, 4), torch.tensor([11, 1, 5, 8])
    mask = (torch.arange(11) < lengths[:, None]).long()
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
        torch.testing.assert_close(our_logits(ours, source, target, lengths), expected, rtol=1e-5, atol=1e-5)


def test_a_foreign_folder_opens_here_and_goes_back(both, tmp_path):
    """What transformers itself has written."""
    ours, theirs = both
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs").module
    source, target = ids(2, 9, 5), ids(2, 7, 6)
    with torch.no_grad():
        assert torch.equal(our_logits(again, source, target), our_logits(ours, source, target))
    files = neural_files(again, again.settings, TOKENIZER.separator_id)
    write_folder(tmp_path / "back", files, facts={})
    back = transformers.MarianMTModel.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        assert torch.equal(
            back(source, decoder_input_ids=target).logits, theirs(source, decoder_input_ids=target).logits
        )


def test_greedy_and_beam_search_write_their_targets(both):
    """With caches on both sides, from padded sources of odd lengths."""
    ours, theirs = both
    start = theirs.config.decoder_start_token_id
    sources = [ids(1, length, length)[0].tolist() for length in (3, 9, 4)]
    model = Translator(ours, TOKENIZER.separator_id)
    greedy = GenerationSettings(max_new_tokens=12, temperature=0.0, stop_ids=(0,))
    found = generate(model, TOKENIZER, [tuple(source) for source in sources], greedy)
    beams = beam_search(model, TOKENIZER, [tuple(source) for source in sources], greedy, beams=3, alpha=0.0)
    for source, one, best in zip(sources, found, beams, strict=True):
        asked = {
            "max_new_tokens": 12, "do_sample": False, "decoder_start_token_id": start, "bad_words_ids": None,
            "eos_token_id": [0, TOKENIZER.separator_id], "pad_token_id": start, "forced_eos_token_id": None,
        }  # fmt: skip
        expected = theirs.generate(torch.tensor([source]), **asked)[0, 1:].tolist()
        assert list(one.ids) == expected[: len(one.ids)]
        assert len(one.ids) == 12 or one.ids[-1] in (0, TOKENIZER.separator_id)
        assert sum(best.log_probs) >= sum(one.log_probs) - 1e-5


def test_what_the_family_cannot_do_is_refused_by_name():
    config = {"model_type": "marian", "vocab_size": V, "bos_token_id": 0, "decoder_start_token_id": 5}
    assert from_config(config).start_id == 5 and from_config(config).width == 1024
    for field, value in {
        "share_encoder_decoder_embeddings": False,
        "decoder_vocab_size": V + 1,
        "activation_function": "tanh",
        "decoder_ffn_dim": 17,
        "normalize_before": True,
        "some_new_field": 3,
    }.items():
        with pytest.raises(ModelFolderError, match=field):
            from_config({**config, field: value})


def test_the_bias_of_the_head_is_found_in_the_file(both, tmp_path):
    _, theirs = both
    with torch.no_grad():
        theirs.final_logits_bias.copy_(torch.linspace(-1, 1, V)[None])
    theirs.save_pretrained(tmp_path)
    assert "logits_bias" in json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    again = load_model(tmp_path).module
    assert again.settings.head_bias
    source, target = ids(2, 9, 5), ids(2, 7, 6)
    with torch.no_grad():
        expected = theirs(source, decoder_input_ids=target).logits
        torch.testing.assert_close(our_logits(again, source, target), expected, rtol=1e-5, atol=1e-5)
    assert np.isfinite(expected.numpy()).all()
