"""XLNet equal to transformers' in both directions, on random models: logits in float32.

In random orders, from left to right, with padding, segments, memory and odd lengths. The one difference on purpose:
a query that may see nothing sees everything there, and nothing here; such queries are not compared.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from zhixing.errors import ModelFolderError  # noqa: E402
from zhixing.model_folder import write_folder  # noqa: E402
from zhixing.models.decoders import build_decoder  # noqa: E402
from zhixing.models.load import load  # noqa: E402
from zhixing.models.save import companion_files, neural_files  # noqa: E402
from zhixing.models.xlnet import XLNetSettings  # noqa: E402
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer  # noqa: E402

TEXT = "def read(path):\n    return open(path).read()  # 知行合一 knowing and doing are one\n" * 20
CONTEXT, V = 24, 300
LENGTHS = [1, 2, 5, 13, CONTEXT]
SHAPE = {"vocab_size": V, "context_length": CONTEXT, "layers": 2, "width": 32, "heads": 4}
OURS = {
    "plain": XLNetSettings(**SHAPE, dropout=0.1),
    "segments": XLNetSettings(**SHAPE, segments=True, inner_width=40, norm_epsilon=1e-6),
    "uni-clamped": XLNetSettings(**SHAPE, attention="uni", clamp=5),
}
THEIR_SHAPE = {"vocab_size": V, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def xlnet(kind="XLNetLMHeadModel", **fields):
    return getattr(transformers, kind)(transformers.XLNetConfig(**{**THEIR_SHAPE, **fields}))


THEIRS = {
    "plain": {},
    "uni": {"attn_type": "uni"},
    "clamped": {"clamp_len": 6, "layer_norm_eps": 1e-6, "mem_len": 4},
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TokenizerSettings(vocab_size=V), [TEXT])


def shake(module):
    """Random weights with opinions: a wrong distance or a leak changes the answer by far more than rounding."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2)
    return module.eval()


def written(model, folder, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def draw_ids(batch, length):
    return torch.randint(10, V, (batch, length), generator=torch.Generator().manual_seed(length))


def say(theirs, ids, **given):
    """Return their logits. A Transformer-XL of theirs takes masks of one text at a time only."""
    if theirs.config.attn_type == "bi":
        return theirs(ids, **given).logits
    rows = range(len(ids))
    return torch.cat([theirs(ids[i : i + 1], **{n: t[i : i + 1] for n, t in given.items()}).logits for i in rows])


def logits(module, hidden):
    return hidden @ module.head_weight.T


def at(module, streams):
    """Logits of the content stream, which has no 1 at its end."""
    return streams @ module.token_embedding.weight.T + module.head_bias


@torch.no_grad()
def assert_equal_in_random_orders(ours, theirs):
    for length in LENGTHS[1:]:
        ids, generator = draw_ids(3, length), torch.Generator().manual_seed(length)
        rank = torch.stack([torch.randperm(length, generator=generator) for _ in range(3)])
        hidden = (rank[:, None, :] >= rank[:, :, None]).float()  # perm_mask: 1, i does not attend to j
        if theirs.config.attn_type == "uni":  # whoever sees nothing earlier to the left is not compared
            sees = (hidden == 0) & torch.ones(length, length, dtype=torch.bool).tril()
        else:
            sees = hidden == 0
        rows = [torch.nonzero(each.any(1)).squeeze(1) for each in sees]
        asked = max(1, min(len(row) for row in rows) // 2)
        if min(len(row) for row in rows) == 0:
            continue
        places = torch.stack([row[torch.randperm(len(row), generator=generator)[:asked]] for row in rows])
        mapping = torch.nn.functional.one_hot(places, length).float()
        expected = say(theirs, ids, perm_mask=hidden, target_mapping=mapping)
        allowed = hidden == 0
        content = (allowed | torch.eye(length, dtype=torch.bool))[:, None]
        query = allowed.gather(1, places[..., None].expand(-1, -1, length))[:, None]
        assert expected.std() > 0.3, "the model must have opinions"
        torch.testing.assert_close(logits(ours, ours.predict(ids, places, content, query)), expected, **TOLERANCE)


@torch.no_grad()
def assert_equal_content(ours, theirs):
    """Without target places: every token knows itself; with and without padding and segments."""
    for length in LENGTHS:
        ids = draw_ids(3, length)
        segments = (torch.arange(length).expand(3, -1) > length // 2).long()
        torch.testing.assert_close(at(ours, ours.content(ids)), say(theirs, ids), **TOLERANCE)
        if ours.settings.segments:
            found = at(ours, ours.content(ids, segments=segments))
            torch.testing.assert_close(found, say(theirs, ids, token_type_ids=segments), **TOLERANCE)
    lengths = torch.tensor([3, 9, 1, 6])
    ids, real = draw_ids(4, 9), torch.arange(9) < lengths[:, None]
    expected = say(theirs, ids, attention_mask=real.float())
    mask = real[:, None, None, :] | torch.eye(9, dtype=torch.bool)
    found = at(ours, ours.content(ids, mask=mask))
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, :length], expected[row, :length], **TOLERANCE)


@torch.no_grad()
def assert_equal_language_models(model, theirs):
    """What theirs says of the next token, by its own recipe for generation, is what our language model says."""
    ours = model.module
    for length in LENGTHS[:-1]:
        ids = draw_ids(2, length)
        whole = torch.cat([ids, torch.zeros(2, 1, dtype=torch.int64)], dim=1)
        hidden = torch.zeros(2, length + 1, length + 1)
        hidden[:, :, -1] = 1.0
        causal = torch.ones(length + 1, length + 1).triu(1)
        mapping = torch.zeros(2, 1, length + 1)
        mapping[:, 0, -1] = 1.0
        found = say(theirs, whole, perm_mask=torch.maximum(hidden, causal), target_mapping=mapping)[:, 0]
        expected = torch.log_softmax(found, -1).numpy()
        said, _ = model.next_log_probs(ids.numpy(), model.initial_state(2))
        np.testing.assert_allclose(said, expected, **TOLERANCE)
        state, last = model.initial_state(2), None
        for place in range(length):
            last, state = model.next_log_probs(ids[:, place : place + 1].numpy(), state)
        np.testing.assert_allclose(last, expected, **TOLERANCE)
    assert ours.settings.vocab_size == V


@torch.no_grad()
def assert_equal_with_memory(model, theirs):
    """Their memory of one part, carried to the next, is our cache; left to right, as Transformer-XL."""
    ids = draw_ids(2, 12)
    memory = theirs(ids[:, :7], use_mems=True, perm_mask=torch.ones(7, 7).triu(1).expand(2, -1, -1)).mems
    hidden = torch.ones(6, 6).triu(1).expand(2, -1, -1).clone()
    hidden[:, :, -1] = 1.0
    mapping = torch.zeros(2, 1, 6)
    mapping[:, 0, -1] = 1.0
    rest = torch.cat([ids[:, 7:], torch.zeros(2, 1, dtype=torch.int64)], dim=1)
    found = theirs(rest, mems=memory, use_mems=True, perm_mask=hidden, target_mapping=mapping).logits[:, 0]
    _, state = model.next_log_probs(ids[:, :7].numpy(), model.initial_state(2))
    said, _ = model.next_log_probs(ids[:, 7:].numpy(), state)
    np.testing.assert_allclose(said, torch.log_softmax(found, -1).numpy(), **TOLERANCE)


def assert_equal_models(model, theirs):
    assert_equal_in_random_orders(model.module, theirs)
    assert_equal_content(model.module, theirs)
    assert_equal_language_models(model, theirs)
    if not theirs.config.mem_len and theirs.config.attn_type == "bi":
        assert_equal_with_memory(model, theirs)


# ---------------------------------------------------------------- ours opens there


@pytest.fixture(scope="module", params=list(OURS))
def our_folder(request, tokenizer, tmp_path_factory):
    settings = OURS[request.param]
    folder = tmp_path_factory.mktemp("ours") / "model"
    files = neural_files(shake(build_decoder(settings)), settings, tokenizer.separator_id)
    write_folder(folder, {**files, **companion_files(tokenizer)}, facts={})
    return folder


def test_our_folder_opens_there_with_every_weight_and_comes_back(our_folder, tokenizer):
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        our_folder, dtype=torch.float32, output_loading_info=True
    )
    assert type(model).__name__ == "XLNetLMHeadModel"
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[kind], (kind, report[kind])
    ours = load(our_folder)
    assert_equal_models(ours.model, model.eval())
    again = load(written(model, our_folder.parent / "again", tokenizer)).model
    assert again.module.settings == ours.model.module.settings
    ids = draw_ids(2, 9).numpy()
    np.testing.assert_array_equal(again.score(ids), ours.model.score(ids))


# ---------------------------------------------------------------- theirs opens here


@pytest.mark.parametrize("kind", THEIRS)
def test_their_folder_opens_here(kind, tokenizer, tmp_path):
    theirs = shake(xlnet(**THEIRS[kind]))
    model = load(written(theirs, tmp_path / "model", tokenizer)).model
    assert model.module.settings.segments and model.context_length == 512
    assert_equal_models(model, theirs)


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"ff_activation": "relu"}, "ff_activation"),
        ({"rope_theta": 1e4}, "rope_theta"),
        ({"bi_data": True}, "bi_data"),
        ({"same_length": True, "attn_type": "uni"}, "same_length"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
    ],
)
def test_what_we_cannot_compute_is_refused_by_name(fields, named, tokenizer, tmp_path):
    with pytest.raises(ModelFolderError, match=named):
        load(written(xlnet(**fields), tmp_path / "model", tokenizer))


def test_another_head_is_refused(tokenizer, tmp_path):
    with pytest.raises(ModelFolderError, match="architectures"):
        load(written(xlnet("XLNetForTokenClassification"), tmp_path / "model", tokenizer))


def test_wrong_weights_are_refused_with_the_list(tokenizer, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = written(xlnet(), tmp_path / "model", tokenizer)
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.layer.1.rel_attn.r"]
    tensors["transformer.layer.9.ff.layer_1.bias"] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelFolderError, match=r"layer\.1\.rel_attn\.r") as caught:
        load(folder)
    assert "layer.9" in str(caught.value)
