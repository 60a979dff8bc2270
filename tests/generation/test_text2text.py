"""The text2text-generation pipeline: sources in, targets out; folders, models, beams, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zhixing
from zhixing.errors import ConfigError, ContextLengthError, InputError
from zhixing.generation.text2text import Text2TextPipeline
from zhixing.model_folder import write_folder
from zhixing.models.decoders import build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.save import companion_files, neural_files
from zhixing.models.transformer import TransformerSettings
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
SETTINGS = TransformerSettings(vocab_size=TOKENIZER.vocab_size, context_length=23, layers=1, width=32, heads=2)
WORDS = {"cat": "purrs", "dog": "barks", "owl": "hoots"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that has learned by heart what three animals do."""
    torch.manual_seed(0)
    module = build_decoder(SETTINGS.replace(start_id=258))
    sources = torch.tensor([[*word.encode(), TOKENIZER.separator_id] for word in WORDS])
    targets = torch.tensor([[*sound.encode(), TOKENIZER.separator_id] for sound in WORDS.values()])
    inputs = torch.cat([torch.full((3, 1), 258), targets[:, :-1]], dim=1)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    for _ in range(60):
        logits = module.decode(inputs, module.encode(sources)) @ module.head_weight.T
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    where = tmp_path_factory.mktemp("text2text") / "model"
    files = neural_files(module, module.settings, TOKENIZER.separator_id)
    write_folder(where, {**files, **companion_files(TOKENIZER)}, facts={})
    return where


def test_each_source_gets_its_target(folder):
    write = zhixing.pipeline("text2text-generation", model=folder)
    assert write("cat", do_sample=False) == [{"generated_text": "purrs"}]
    assert write(list(WORDS), temperature=0.0) == [[{"generated_text": sound}] for sound in WORDS.values()]
    assert write(list(WORDS), num_beams=3) == [[{"generated_text": sound}] for sound in WORDS.values()]
    assert len(write("owl", num_beams=4, num_return_sequences=3)) == 3
    drawn = write("dog", num_return_sequences=2, seed=1, temperature=0.1)
    assert drawn == [{"generated_text": "barks"}] * 2


def test_targets_end_at_the_target_length_if_nothing_else_ends_them(folder):
    loaded = zhixing.load(folder)
    write = zhixing.pipeline("text2text-generation", model=loaded)
    assert write.translator.target_length == 11
    forced = ((ord("a"), 100.0),)
    for given in (loaded, folder):  # a folder's own settings say 128, as for any text
        (text,) = zhixing.pipeline("text2text-generation", model=given)("cat", logit_bias=forced, do_sample=False)
        assert text["generated_text"] == "a" * 11
    (text,) = write("cat", logit_bias=forced, do_sample=False, max_new_tokens=14)
    assert text["generated_text"] == "a" * 14


def test_a_source_is_closed_by_the_separator_where_targets_start_with_an_id_of_their_own():
    closed = Text2TextPipeline(build_decoder(SETTINGS.replace(start_id=3)), TOKENIZER)
    opened = Text2TextPipeline(build_decoder(SETTINGS), TOKENIZER)
    assert closed.encode("ab") == (97, 98, TOKENIZER.separator_id)
    assert opened.encode("ab") == (TOKENIZER.separator_id, 97, 98)


def test_what_does_not_fit_is_refused(folder):
    write = zhixing.pipeline("text2text-generation", model=folder)
    with pytest.raises(ContextLengthError):
        write("x" * 40)
    with pytest.raises(InputError, match="not text"):
        write([3])
    with pytest.raises(ConfigError, match="return_full_text"):
        write("cat", return_full_text=False)
    with pytest.raises(ConfigError, match="num_beam"):
        write("cat", num_beam=2)
    decoder = build_decoder(GPT2Settings(vocab_size=300, context_length=8, layers=1, width=8, heads=1))
    with pytest.raises(InputError, match="encoder-decoder"):
        zhixing.pipeline("text2text-generation", model=NeuralLanguageModel(decoder), tokenizer=TOKENIZER)
    with pytest.raises(InputError, match="tokenizer="):
        zhixing.pipeline("text2text-generation", model=zhixing.load(folder).model)


def test_a_model_that_is_given_is_the_one_that_writes(folder):
    loaded = zhixing.load(folder)
    write = zhixing.pipeline("text2text-generation", model=loaded.model, tokenizer=loaded.tokenizer)
    said, _ = write.translator.next_log_probs(np.array([write.encode("cat")]), write.translator.initial_state(1))
    assert chr(int(said[0].argmax())) == "p"
