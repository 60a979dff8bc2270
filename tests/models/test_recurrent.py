"""Recurrent language models: the contract of every ``LanguageModel``, and what only a recurrent one can do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from zhixing.errors import ModelFolderError
from zhixing.evaluation.run import evaluate
from zhixing.evaluation.windows import plan_windows
from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.model_folder import read_tensors, write_folder
from zhixing.models import neural
from zhixing.models.decoders import build_decoder, export_tensors, from_config, load_tensors, parameter_count, to_config
from zhixing.models.load import load
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.protocol import LanguageModel
from zhixing.models.recurrent import PRESETS, Recurrent, RecurrentSettings
from zhixing.models.save import companion_files, neural_files
from zhixing.nn.losses import cross_entropy_sum
from zhixing.pretraining.run import train
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.training.metrics import read_metrics

TOKENIZER = ByteTokenizer()
V, WINDOW = TOKENIZER.vocab_size, 12
SHAPE = {"vocab_size": V, "context_length": WINDOW, "layers": 2, "width": 16}
KINDS = {
    "rnn": RecurrentSettings(**SHAPE, cell="rnn"),
    "lstm": RecurrentSettings(**SHAPE, cell="lstm"),
    "gru": RecurrentSettings(**SHAPE, cell="gru"),
    "lstm-tied": RecurrentSettings(**SHAPE, cell="lstm", tied=True, dropout=0.3),
}
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


def random_module(settings):
    """Weights large enough that a wrong state changes the answer by far more than rounding."""
    torch.manual_seed(1)
    module = build_decoder(settings)
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_(0.0, 0.4)
    return module.eval()


@pytest.fixture(scope="module", params=list(KINDS))
def settings(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def module(settings):
    return random_module(settings)


@pytest.fixture(scope="module")
def model(module):
    return NeuralLanguageModel(module)


def draw(batch, length, seed=0):
    return np.random.default_rng(seed).integers(0, V, (batch, length))


def alone(model, row):
    ids = np.asarray(row, np.int64)[None]
    return model.next_log_probs(ids, model.initial_state(1))[0][0]


def summed_loss(module, ids):
    hidden = module(torch.from_numpy(ids[:, :-1])).flatten(0, 1)
    return cross_entropy_sum(hidden @ module.head_weight.T, torch.from_numpy(ids[:, 1:]).flatten())


# ---------------------------------------------------------------- the contract


def test_shapes_and_probabilities(model):
    assert isinstance(model, LanguageModel)
    assert (model.family, model.vocab_size, model.context_length) == ("recurrent", V, None)
    said, _ = model.next_log_probs(draw(3, 5), model.initial_state(3), np.array([5, 1, 3]))
    assert said.shape == (3, V) and said.dtype == np.float32
    np.testing.assert_allclose(np.exp(said.astype(np.float64)).sum(axis=1), 1, atol=1e-5)
    assert model.score(draw(3, 5)).shape == (3, 4)
    assert np.abs(said[0] - said[1]).max() > 0.05


def test_a_later_token_changes_nothing_before_it_and_an_earlier_one_does(model):
    ids = draw(3, 9)
    changed = ids.copy()
    changed[:, 5:] = draw(3, 9, seed=7)[:, 5:]
    np.testing.assert_allclose(model.score(ids)[:, :4], model.score(changed)[:, :4], **TOLERANCE)
    changed = ids.copy()
    changed[:, 0] = (ids[:, 0] + 1) % V
    assert (np.abs(model.score(ids)[:, 1:] - model.score(changed)[:, 1:]).max(axis=1) > 1e-4).all()


def test_token_by_token_is_all_at_once(model):
    ids, state = draw(3, 3 * WINDOW), model.initial_state(3)
    scores = model.score(ids)
    for place in range(ids.shape[1] - 1):
        said, state = model.next_log_probs(ids[:, place : place + 1], state)
        np.testing.assert_allclose(said[np.arange(3), ids[:, place + 1]], scores[:, place], **TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_ragged_blocks_are_rows_read_alone(model, seed):
    rng = np.random.default_rng(seed)
    texts, read, state = draw(4, 20, seed), np.zeros(4, np.int64), model.initial_state(4)
    while (read < 20).all():
        lengths = np.minimum(rng.integers(1, 6, 4), 20 - read)
        block = np.full((4, int(lengths.max())), int(rng.integers(0, V)))  # padding of any kind
        for row in range(4):
            block[row, : lengths[row]] = texts[row, read[row] : read[row] + lengths[row]]
        said, state = model.next_log_probs(block, state, lengths)
        read += lengths
        assert state.lengths.tolist() == read.tolist()
        for row in range(4):
            np.testing.assert_allclose(said[row], alone(model, texts[row, : read[row]]), **TOLERANCE)


def test_rows_come_and_go(model):
    """What the batching engine does: join a prompt, drop a finished row, branch."""
    first, second, more = draw(2, 7, seed=1), draw(1, 2, seed=2), draw(4, 1, seed=3)
    _, long = model.next_log_probs(first, model.initial_state(2), np.array([7, 3]))
    _, short = model.next_log_probs(second, model.initial_state(1))
    state = model.keep_rows(model.join_states([long, model.initial_state(1), short]), [3, 0, 0, 1])
    said, _ = model.next_log_probs(more, model.keep_rows(state, range(4)))
    again, _ = model.next_log_probs(more, state)  # the kept rows were copies
    texts = [[*second[0]], [*first[0]], [*first[0]], [*first[1, :3]]]
    for row, text in enumerate(texts):
        np.testing.assert_allclose(said[row], alone(model, [*text, *more[row]]), **TOLERANCE)
    np.testing.assert_array_equal(said, again)


def test_scores_of_padding_are_zero_and_padding_is_not_seen(model):
    ids, lengths = draw(3, 8), np.array([3, 8, 1])
    scores = model.score(ids, lengths)
    for row, length in enumerate(lengths):
        assert (scores[row, length - 1 :] == 0).all()
        if length > 1:
            expected = model.score(ids[row : row + 1, :length])[0]
            np.testing.assert_allclose(scores[row, : length - 1], expected, **TOLERANCE)


def test_the_same_call_gives_the_same_bits(model):
    ids, lengths = draw(3, 7), np.array([7, 2, 5])
    first = model.next_log_probs(ids, model.initial_state(3), lengths)[0]
    torch.manual_seed(5)
    np.testing.assert_array_equal(first, model.next_log_probs(ids, model.initial_state(3), lengths)[0])
    np.testing.assert_array_equal(model.score(ids), model.score(ids))


def test_a_saved_model_is_the_same_model(model, settings, tmp_path):
    files = neural_files(model.module, settings, TOKENIZER.separator_id)
    write_folder(tmp_path / "a", {**files, **companion_files(TOKENIZER)}, facts={})
    again = load(tmp_path / "a")
    assert again.model.module.settings == settings.replace(dropout=0.0)  # dropout is of training, not of the model
    ids = draw(4, 9)
    np.testing.assert_array_equal(again.model.score(ids), model.score(ids))
    files = neural_files(again.model.module, settings, TOKENIZER.separator_id)
    write_folder(tmp_path / "b", {**files, **companion_files(TOKENIZER)}, facts={})
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_gradient_reaches_every_weight_and_is_the_slope(settings):
    module = random_module(settings).double()
    ids, step = draw(4, 9), 1e-6
    summed_loss(module, ids).backward()
    for name, weights in module.named_parameters():
        assert weights.grad is not None and (weights.grad != 0).any(), name
        if weights.ndim == 2 and "embedding" not in name:
            assert (weights.grad != 0).any(dim=1).all(), f"a row of {name} learns nothing"
    weights = list(module.parameters())
    direction = [torch.randn_like(weight) for weight in weights]
    slope = sum((w.grad * d).sum() for w, d in zip(weights, direction, strict=True)).item()
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            for w, d in zip(weights, direction, strict=True):
                w.add_(d, alpha=sign * step)
            values.append(summed_loss(module, ids).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-4)


def test_it_learns_a_tiny_text_by_heart(settings):
    """From the family's own initial weights."""
    torch.manual_seed(0)
    module = build_decoder(settings.replace(dropout=0.0))
    ids = draw(4, WINDOW + 1)
    ids[:, 0] = np.arange(4)  # the first id tells which text it is
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.02, weight_decay=0.0)
    for _ in range(250):
        optimizer.zero_grad()
        loss = summed_loss(module, ids) / (4 * WINDOW)
        if loss.item() < 0.1:
            break
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


# ---------------------------------------------------------------- of this family only


def test_documents_in_one_window_are_as_if_alone(module):
    ids = torch.from_numpy(draw(2, 9))
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 2], [0, 0, 1, 1, 1, 1, 1, 1, 1]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 0], [0, 1, 0, 1, 2, 3, 4, 5, 6]])
    packed = module(ids, documents=documents, positions=positions)
    parts = [module(ids[:1, :3]), module(ids[:1, 3:8]), module(ids[:1, 8:])]
    torch.testing.assert_close(packed[:1], torch.cat(parts, dim=1), **TOLERANCE)
    torch.testing.assert_close(packed[1:, 2:], module(ids[1:, 2:]), **TOLERANCE)
    assert (packed[0, 3:] - module(ids)[0, 3:]).abs().max() > 0.01
    with pytest.raises(ValueError, match="one document per row"):
        module(ids, documents=documents, cache=module.new_cache(2))


def test_long_texts_are_scored_piece_by_piece(model, monkeypatch):
    """Far beyond the window of training, in bounded memory; and evaluation gives it whole documents."""
    ids = draw(2, 5 * WINDOW)
    whole = model.score(ids, np.array([5 * WINDOW, 30]))
    monkeypatch.setattr(neural, "_PIECE", 7)
    np.testing.assert_allclose(model.score(ids, np.array([5 * WINDOW, 30])), whole, **TOLERANCE)
    assert plan_windows(10**6, 2**62, 2**62) == [(0, 10**6, 0)]


def test_a_state_does_not_grow(model):
    _, state = model.next_log_probs(draw(1, 1), model.initial_state(1))
    size = sum(part.numel() for layer in state.layers for part in layer)
    _, state = model.next_log_probs(draw(1, 500), state)
    assert sum(part.numel() for layer in state.layers for part in layer) == size
    assert not any(part.requires_grad for layer in state.layers for part in layer)


def test_generation_is_one_by_one_whatever_the_batch(model):
    prompts = ["a", "longer than the window of training", "bc"]
    settings = GenerationSettings(max_new_tokens=20, temperature=0.7, seed=3)
    together = generate(model, TOKENIZER, prompts, settings)
    assert [text.ids for text in together] == [
        text.ids for prompt in prompts for text in generate(model, TOKENIZER, [prompt], settings)
    ]


def test_weights_open_in_torch_by_name(settings, module, tmp_path):
    files = neural_files(module, settings, TOKENIZER.separator_id)
    write_folder(tmp_path / "m", files, facts={})
    tensors = read_tensors(tmp_path / "m")
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[settings.cell]
    theirs = kind(settings.width, settings.width, settings.layers, batch_first=True)
    theirs.load_state_dict({n.removeprefix("recurrent."): t for n, t in tensors.items() if "recurrent" in n})
    ids = torch.from_numpy(draw(2, 6))
    embedded = tensors["embedding.weight"][ids] * (settings.width**0.5 if settings.tied else 1.0)
    torch.testing.assert_close(theirs(embedded)[0], module(ids), **TOLERANCE)
    assert json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))["cell"] == settings.cell


def test_names_there_and_back(settings, module):
    theirs = export_tensors(module, settings)
    again = build_decoder(settings)
    load_tensors(again, settings, theirs, "here")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in module.state_dict().items())
    assert from_config("recurrent", to_config(settings, 5)) == settings.replace(dropout=0.0)
    assert parameter_count(settings) == sum(weights.numel() for weights in module.parameters())


def test_wrong_folders_are_refused_by_name(settings, module):
    theirs = export_tensors(module, settings)
    name = "recurrent.weight_hh_l1"
    broken = {**theirs, name: torch.zeros(3, 5), "recurrent.weight_ih_l7": torch.zeros(1)}
    del broken["recurrent.bias_ih_l0"]
    with pytest.raises(ModelFolderError) as caught:
        load_tensors(build_decoder(settings), settings, broken, "here")
    for word in (name, "recurrent.weight_ih_l7", "recurrent.bias_ih_l0"):
        assert word in str(caught.value)
    for field, value in (("cell", "mamba"), ("cell", None), ("hidden_size", "9"), ("num_hidden_layers", 0)):
        with pytest.raises(ModelFolderError, match=field if field != "num_hidden_layers" else "layers"):
            from_config("recurrent", {**to_config(settings, 5), field: value})


def test_dropout_acts_in_training_only():
    module = build_decoder(KINDS["lstm-tied"])
    ids = torch.from_numpy(draw(2, 6))
    assert (module(ids) - module(ids)).abs().max() > 0.01
    module.eval()
    assert torch.equal(module(ids), module(ids))


def test_autocast_and_low_precision_change_little(settings, module):
    ids = torch.from_numpy(draw(2, 6))
    expected = module(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = module(ids)
        hidden.float().sum().backward()
    torch.testing.assert_close(hidden, expected, atol=0.05, rtol=0.05)
    low = NeuralLanguageModel(random_module(settings).bfloat16())
    said, state = low.next_log_probs(draw(2, 6), low.initial_state(2), np.array([6, 2]))
    said, _ = low.next_log_probs(draw(2, 1), state)
    assert said.dtype == np.float32 and np.isfinite(said).all()
    assert state.layers[0][0].dtype == torch.bfloat16


def test_initial_weights():
    torch.manual_seed(0)
    module = Recurrent(RecurrentSettings(cell="lstm", vocab_size=600, width=64, layers=1))
    layer = module.blocks[0]
    for gate in torch.split(layer.recurrent.weight.detach(), 64):
        torch.testing.assert_close(gate @ gate.T, torch.eye(64), atol=1e-5, rtol=0)
    assert layer.input.bias.tolist() == [0.0] * 64 + [1.0] * 64 + [0.0] * 128
    assert module.token_embedding.weight.std().item() == pytest.approx(1.0, rel=0.05)
    assert (module.head_weight == 0).all()


def test_settings():
    for wrong in ({"cell": "mamba"}, {"layers": 0}, {"dropout": 1.0}, {"width": 0}, {"heads": 2}):
        with pytest.raises(ValidationError):
            RecurrentSettings(**wrong)
    with pytest.raises(ValueError, match="vocab_size"):
        Recurrent(RecurrentSettings())
    # Zaremba et al. (2014), section 4.1: two layers of 1,500 units, 10,000 words; 66 million weights.
    assert parameter_count(PRESETS["zaremba-large"]) == pytest.approx(66e6, rel=0.01)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_tiny_recipe_trains_and_what_it_leaves_is_measured_and_writes(cell, tiny_text, tmp_path):
    recipe = Path(__file__).parents[2] / "recipes" / "tiny-recurrent.yaml"
    overrides = [f"text.paths=['{tiny_text}']", "text.validation_fraction=0.2", f"model.cell={cell}"]
    overrides += ["data.isolate_documents=yes", "training.steps=40", "training.compile=no"]
    folder = train(recipe, tmp_path / "run", overrides=overrides, announce=False).folder
    losses = [record["loss"] for record in read_metrics(folder) if "loss" in record]
    assert losses[-1] < losses[0] - 1
    (row,) = (row for row in evaluate([folder], text=[str(tiny_text)]).rows if row.family == "recurrent")
    assert 0 < row.bits_per_byte < 6
    opened = load(folder)
    (written,) = generate(opened.model, opened.tokenizer, ["the cat "], GenerationSettings(max_new_tokens=99, seed=0))
    assert written.ids
    assert opened.model.context_length is None
