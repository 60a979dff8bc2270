"""BERT's contract: what a bidirectional model promises, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from zhixing.errors import ContextLengthError, InputError, ModelFolderError
from zhixing.model_folder import write_folder
from zhixing.models.bert import PRESETS, Bert, BertSettings
from zhixing.models.decoders import build_decoder, export_tensors, from_config, load_tensors, parameter_count, to_config
from zhixing.models.encoder import EncoderModel, mask_id, mask_token, wrap
from zhixing.models.load import load
from zhixing.models.save import companion_files, neural_files
from zhixing.nn.losses import cross_entropy_sum
from zhixing.nn.positions import sinusoidal
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.specials import MASK

TOKENIZER = ByteTokenizer(extra_tokens=(MASK,))
V, CONTEXT = TOKENIZER.vocab_size, 13
SHAPE = {"vocab_size": V, "context_length": CONTEXT, "layers": 2, "width": 16, "heads": 4}
ROBERTA = {"variant": "roberta", "padding_id": 1, "segments": 1, "norm_epsilon": 1e-5}
KINDS = {
    "bert": BertSettings(**SHAPE),
    "bert-narrow": BertSettings(**SHAPE, inner_width=24, dropout=0.3),
    "roberta": BertSettings(**SHAPE, **ROBERTA),
}
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


def random_module(settings):
    """Weights large enough that a wrong position or a leaking neighbour changes the answer by more than rounding."""
    torch.manual_seed(1)
    module = build_decoder(settings)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if "norm.weight" in name else 0.0, 0.3)
    return module.eval()


@pytest.fixture(scope="module", params=list(KINDS))
def settings(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def module(settings):
    return random_module(settings)


@pytest.fixture(scope="module")
def model(module):
    return EncoderModel(module)


def draw(batch, length, seed=0):
    return np.random.default_rng(seed).integers(2, V, (batch, length))  # 1 is RoBERTa's padding


def summed_loss(module, ids, places):
    """The loss at ``places``, which are masked."""
    hidden_ids = ids.clone()
    hidden_ids[:, places] = TOKENIZER.special_id(MASK)
    logits = module.logits(module(hidden_ids)[:, places])
    return cross_entropy_sum(logits.flatten(0, 1), ids[:, places].flatten())


# ---------------------------------------------------------------- the contract


def test_shapes_and_probabilities(model):
    assert (model.family, model.vocab_size, model.context_length, model.has_head) == ("bert", V, CONTEXT, True)
    ids = draw(3, 7)
    hidden = model.hidden(ids)
    assert hidden.shape == (3, 7, 16) and hidden.dtype == np.float32
    said = model.masked_log_probs(ids, np.array([0, 2, 2]), np.array([1, 0, 6]))
    assert said.shape == (3, V) and said.dtype == np.float32
    np.testing.assert_allclose(np.exp(said.astype(np.float64)).sum(axis=1), 1, atol=1e-5)
    assert np.ptp(said, axis=1).min() > 0.5 and np.abs(said[0] - said[1]).max() > 0.05


@pytest.mark.parametrize("place", [0, 4, 8])
def test_every_token_sees_every_other_in_both_directions(model, place):
    ids = draw(2, 9)
    changed = ids.copy()
    changed[:, place] = (ids[:, place] + 1 - 2) % (V - 2) + 2
    difference = np.abs(model.hidden(ids) - model.hidden(changed)).max(axis=2)
    assert (difference > 1e-3).all()


def test_padding_is_never_seen(model):
    ids, lengths = draw(4, 8), np.array([3, 8, 1, 6])
    outside = np.arange(8) >= lengths[:, None]
    for filler in (draw(4, 8, seed=11), np.zeros_like(ids), np.ones_like(ids)):
        found = model.hidden(np.where(outside, filler, ids), lengths)
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(found[row, :length], model.hidden(ids[row : row + 1, :length])[0], **TOLERANCE)


def test_neighbours_do_not_matter(model):
    ids = draw(5, 7)
    np.testing.assert_allclose(model.hidden(ids[[3, 0]]), model.hidden(ids)[[3, 0]], **TOLERANCE)


def test_documents_in_one_window_are_as_if_alone(module):
    ids = torch.from_numpy(draw(2, 9))
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 2], [0, 0, 1, 1, 1, 1, 1, 1, 1]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 0], [0, 1, 0, 1, 2, 3, 4, 5, 6]])
    packed = module(ids, documents=documents, positions=positions)
    parts = [module(ids[:1, :3]), module(ids[:1, 3:8]), module(ids[:1, 8:])]
    torch.testing.assert_close(packed[:1], torch.cat(parts, dim=1), **TOLERANCE)
    torch.testing.assert_close(packed[1:, 2:], module(ids[1:, 2:]), **TOLERANCE)
    assert (packed[0, 3:] - module(ids)[0, 3:]).abs().max() > 0.01
    short = torch.tensor([7, 9])  # the last two of the first row are padding, one of them in a document of its own
    padded = module(ids, documents=documents, positions=positions, lengths=short)
    assert padded.isfinite().all()
    torch.testing.assert_close(padded[:1, 3:7], module(ids[:1, 3:7]), **TOLERANCE)


def test_order_matters_and_segments_matter(model, settings):
    ids = draw(1, 6)
    assert np.abs(model.hidden(ids[:, ::-1])[:, ::-1] - model.hidden(ids)).max() > 0.01
    if settings.segments > 1:
        second = np.array([[0, 0, 0, 1, 1, 1]])
        assert np.abs(model.hidden(ids, segments=second) - model.hidden(ids)).max() > 0.01


def test_the_context_ends_where_it_says(model):
    assert np.isfinite(model.hidden(draw(2, CONTEXT))).all()
    with pytest.raises(ContextLengthError):
        model.hidden(draw(1, CONTEXT + 1))


def test_the_same_call_gives_the_same_bits(model):
    ids, lengths = draw(3, 7), np.array([7, 2, 5])
    first = model.hidden(ids, lengths)
    torch.manual_seed(5)
    np.testing.assert_array_equal(model.hidden(ids, lengths), first)


def test_a_saved_model_is_the_same_model(model, settings, tmp_path):
    files = neural_files(model.module, settings, TOKENIZER.separator_id)
    write_folder(tmp_path / "a", {**files, **companion_files(TOKENIZER)}, facts={})
    again = load(tmp_path / "a")
    assert isinstance(again.model, EncoderModel) and again.tokenizer.fingerprint == TOKENIZER.fingerprint
    assert again.model.module.settings == settings.replace(dropout=0.0, inner_width=settings.inner_width or 64)
    ids = draw(4, 9)
    np.testing.assert_array_equal(again.model.hidden(ids), model.hidden(ids))
    files = neural_files(again.model.module, settings, TOKENIZER.separator_id)
    write_folder(tmp_path / "b", {**files, **companion_files(TOKENIZER)}, facts={})
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_gradient_reaches_every_weight_and_is_the_slope(settings):
    module = random_module(settings).double()
    ids, places = torch.from_numpy(draw(4, 9)), [2, 5]
    summed_loss(module, ids, places).backward()
    for name, weights in module.named_parameters():
        assert weights.grad is not None and (weights.grad != 0).any(), name
        if weights.ndim == 2 and "embedding" not in name:
            assert (weights.grad != 0).any(dim=1).all(), f"a row of {name} learns nothing"
    weights = list(module.parameters())
    direction = [torch.randn_like(weight) for weight in weights]
    slope = sum((w.grad * d).sum() for w, d in zip(weights, direction, strict=True)).item()
    values, step = [], 1e-6
    with torch.no_grad():
        for sign in (1, -2):
            for w, d in zip(weights, direction, strict=True):
                w.add_(d, alpha=sign * step)
            values.append(summed_loss(module, ids, places).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-4)


def test_it_learns_a_tiny_text_by_heart(settings):
    """From the family's own initial weights: what stands on both sides says which of four texts it is."""
    torch.manual_seed(0)
    module = build_decoder(settings.replace(dropout=0.0))
    ids, places = torch.from_numpy(draw(4, CONTEXT)), [3, 7, 11]
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(200):
        optimizer.zero_grad()
        loss = summed_loss(module, ids, places) / 12
        if loss.item() < 0.1:
            break
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


# ---------------------------------------------------------------- of this family only


def test_it_says_what_it_can_do_instead_of_writing(model):
    calls = (
        lambda: model.initial_state(1),
        lambda: model.next_log_probs(draw(1, 2), None),
        lambda: model.score(draw(1, 2)),
        lambda: model.keep_rows(None, [0]),
        lambda: model.join_states([]),
    )
    for call in calls:
        with pytest.raises(InputError, match="fill-mask"):
            call()


def test_without_a_head_there_are_hidden_states_only(tmp_path):
    settings = BertSettings(**SHAPE, head=False, pooler=True)
    module = random_module(settings)
    files = neural_files(module, settings, TOKENIZER.separator_id)
    write_folder(tmp_path / "m", {**files, **companion_files(TOKENIZER)}, facts={})
    again = load(tmp_path / "m").model
    assert not again.has_head
    ids = torch.from_numpy(draw(2, 5))
    torch.testing.assert_close(again.module.pooled(again.module(ids)), module.pooled(module(ids)))
    with pytest.raises(InputError, match="no masked-LM head"):
        again.masked_log_probs(ids.numpy(), np.array([0]), np.array([1]))
    with pytest.raises(ValueError, match="hidden states only"):
        module.logits(module(ids))
    with pytest.raises(ValueError, match="no pooler"):
        random_module(KINDS["bert"]).pooled(module(ids))


def test_names_there_and_back(settings, module):
    theirs = export_tensors(module, settings)
    again = build_decoder(settings)
    load_tensors(again, settings, theirs, "here")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in module.state_dict().items())
    shape = settings.replace(dropout=0.0, inner_width=settings.inner_width or 64)
    assert from_config("bert", to_config(settings, 5)) == shape
    assert parameter_count(settings) == sum(weights.numel() for weights in module.parameters())


def test_wrong_folders_are_refused_by_name(settings, module):
    theirs = export_tensors(module, settings)
    prefix = settings.variant
    name, extra = f"{prefix}.encoder.layer.1.output.dense.weight", f"{prefix}.encoder.layer.7.output.dense.bias"
    broken = {**theirs, name: torch.zeros(3, 5), extra: torch.zeros(1)}
    del broken[f"{prefix}.embeddings.LayerNorm.bias"]
    with pytest.raises(ModelFolderError) as caught:
        load_tensors(build_decoder(settings), settings, broken, "here")
    for word in (name, extra, "embeddings.LayerNorm.bias"):
        assert word in str(caught.value)
    config = to_config(settings, 5)
    for field, value in (
        ("hidden_act", "relu"),
        ("hidden_size", "9"),
        ("is_decoder", True),
        ("position_embedding_type", "relative_key"),
        ("architectures", ["BertForSequenceClassification"]),
    ):
        with pytest.raises(ModelFolderError, match=field):
            from_config("bert", {**config, field: value})
    with pytest.raises(ModelFolderError, match="multiple of heads"):
        from_config("bert", {**config, "num_attention_heads": 5})


def test_dropout_acts_in_training_only():
    module = build_decoder(KINDS["bert-narrow"])
    ids = torch.from_numpy(draw(2, 6))
    assert (module(ids) - module(ids)).abs().max() > 0.01
    module.eval()
    assert torch.equal(module(ids), module(ids))


def test_autocast_changes_little(module):
    ids = torch.from_numpy(draw(2, 6))
    expected = module(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = module(ids)
        hidden.float().sum().backward()
    torch.testing.assert_close(hidden.float(), expected, atol=0.15, rtol=0.1)


def test_settings_and_published_sizes():
    for wrong in ({"layers": 0}, {"dropout": 1.0}, {"heads": 3, "width": 16}, {"variant": "albert"}, {"segments": 0}):
        with pytest.raises(ValidationError):
            BertSettings(**wrong)
    with pytest.raises(ValueError, match="vocab_size"):
        Bert(BertSettings())
    # Devlin et al. (2019), section 3: 110M and 340M; Liu et al. (2019): 125M for RoBERTa's base.
    assert parameter_count(PRESETS["bert-base"]) == pytest.approx(110e6, rel=0.01)
    assert parameter_count(PRESETS["bert-large"]) == pytest.approx(340e6, rel=0.02)
    assert parameter_count(PRESETS["roberta-base"]) == pytest.approx(125e6, rel=0.01)
    assert parameter_count(PRESETS["all-minilm-l6"]) == 22_713_216  # numbers in the published file


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_initial_weights(kind):
    """Of BERT-base's size at its width, wider below it; positions are waves of the same size, from the first one on."""
    torch.manual_seed(0)
    fields = ROBERTA if kind == "roberta" else {}
    module = Bert(BertSettings(vocab_size=500, context_length=50, layers=1, width=192, heads=4, **fields))
    for weights in (module.token_embedding.weight[:, 48:], module.blocks[0].attention.query_key_value.weight[384:]):
        assert weights.std().item() == pytest.approx(0.04, rel=0.02)  # 0.02 at four times the width
    assert (module.token_embedding.weight[:, :48] == 0).all()  # room for the waves that the first heads read
    first = module.settings.first_position
    waves = sinusoidal(50, 192)
    torch.testing.assert_close(module.position_embedding.weight[first:] / 0.04 / 2**0.5, waves, atol=1e-6, rtol=0)
    assert all((m.bias == 0).all() for m in module.modules() if isinstance(m, torch.nn.Linear))


def test_the_first_heads_begin_by_looking_at_neighbours():
    torch.manual_seed(0)
    module = Bert(BertSettings(vocab_size=500, context_length=40, layers=2, width=128, heads=4))
    ids = torch.randint(500, (3, 40))
    x = module.token_embedding(ids) + module.position_embedding.weight + module.segment_embedding.weight[0]
    x = module.embedding_norm(x)
    packed = module.blocks[0].attention.query_key_value(x).view(3, 40, 12, 32).transpose(1, 2)
    attention = (packed[:, :4] @ packed[:, 4:8].mT / 32**0.5).softmax(-1)
    inside = torch.arange(2, 38)
    for head, distance in enumerate((-1, 1, -2, 2)):
        assert (attention[:, head, inside].argmax(-1) == inside + distance).float().mean() > 0.7
        assert attention[:, head, inside, inside + distance].mean() > 0.6


def test_mask_token_and_wrapping():
    assert mask_token(TOKENIZER) == MASK and mask_id(TOKENIZER) == V - 1
    assert wrap(TOKENIZER, np.array([7, 8])).tolist() == [TOKENIZER.separator_id, 7, 8]
    with pytest.raises(InputError, match="no mask token"):
        mask_token(ByteTokenizer())
