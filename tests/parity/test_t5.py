"""T5 equal to transformers in both directions, on random models: logits in float32, caches, padding, greedy ids."""

from __future__ import annotations

import json

import pytest
import torch

transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from zhixing.errors import ModelFolderError  # noqa: E402
from zhixing.models.interop.names import to_ours, to_theirs  # noqa: E402
from zhixing.models.interop.t5 import from_config, prepare, refine, table, to_config  # noqa: E402
from zhixing.models.t5 import T5, T5Settings  # noqa: E402

V = 60
SHAPE = {"vocab_size": V, "layers": 2, "width": 24, "heads": 3, "inner_width": 20, "context_length": 64}
OURS = {
    "tied-relu": T5Settings(**SHAPE),
    "own-head-gated": T5Settings(**SHAPE, feed_forward="gated-gelu", tied=False),
    "tied-gated-wide-heads": T5Settings(**SHAPE, feed_forward="gated-gelu", head_width=10, buckets=8, farthest=12),
    "own-head-relu-deeper": T5Settings(**SHAPE, tied=False, decoder_layers=3, head_width=5, norm_epsilon=1e-5),
    "tied-undivided": T5Settings(**SHAPE, scaled=False, decoder_layers=1),
    "own-head-divided": T5Settings(**SHAPE, tied=False, scaled=True),
}
LENGTHS = [(1, 1), (7, 5), (13, 2), (40, 33)]


def ids(batch, length, seed):
    return torch.randint(1, V, (batch, length), generator=torch.Generator().manual_seed(seed))


def random_module(settings):
    torch.manual_seed(2)
    module = T5(settings)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.25)
    return module.eval()


def to_folder(module, folder):
    settings = module.settings
    (folder / "config.json").write_text(json.dumps(to_config(settings, 0)), encoding="utf-8")
    weights = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    save_file(
        to_theirs(table(settings), settings.layers, weights), folder / "model.safetensors", metadata={"format": "pt"}
    )


def from_folder(folder):
    tensors = load_file(folder / "model.safetensors")
    settings = refine(from_config(json.loads((folder / "config.json").read_text(encoding="utf-8"))), tensors)
    module = T5(settings)
    module.load_state_dict(to_ours(table(settings), settings.layers, prepare(tensors, settings)))
    return module.eval()


def theirs_from(folder):
    found, report = transformers.T5ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    return found.eval()


def logits(module, source, target, read=None):
    return module.decode(target, module.encode(source, read), read) @ module.head_weight.T


def close(ours, theirs):
    assert (ours - theirs).abs().max().item() < 1e-5 * max(1.0, theirs.abs().max().item())


def compare(ours, theirs):
    with torch.no_grad():
        for size, length in LENGTHS:
            source, target = ids(3, size, size), ids(3, length, 100 + length)
            close(logits(ours, source, target), theirs(input_ids=source, decoder_input_ids=target).logits)
            read = torch.tensor([size, max(1, size // 2), 1])
            mask = (torch.arange(size) < read[:, None]).long()
            padded = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
            close(logits(ours, source, target, read), padded)


@pytest.mark.parametrize("name", OURS)
def test_ours_opens_there(name, tmp_path):
    ours = random_module(OURS[name])
    to_folder(ours, tmp_path)
    compare(ours, theirs_from(tmp_path))


@pytest.mark.parametrize("name", OURS)
def test_there_and_back_is_the_same_model(name, tmp_path):
    ours = random_module(OURS[name])
    (tmp_path / "ours").mkdir()
    to_folder(ours, tmp_path / "ours")
    theirs = theirs_from(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    again = from_folder(tmp_path / "theirs")
    compare(again, theirs)
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in ours.state_dict().items())
    assert (again.settings.tied, again.settings.divides) == (ours.settings.tied, ours.settings.divides)


@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
@pytest.mark.parametrize("tie", [True, False])
def test_theirs_opens_here(kind, tie, tmp_path):
    torch.manual_seed(5)
    config = transformers.T5Config(
        vocab_size=V, d_model=24, d_kv=7, d_ff=30, num_layers=2, num_decoder_layers=3, num_heads=3,
        feed_forward_proj=kind, tie_word_embeddings=tie, decoder_start_token_id=0, relative_attention_num_buckets=10,
        relative_attention_max_distance=17,
    )  # fmt: skip
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    theirs.save_pretrained(tmp_path)
    compare(from_folder(tmp_path), theirs)


@pytest.mark.parametrize(
    "field",
    [
        {"attention_scale": 0.5},
        {"rope_theta": 1e4},
        {"dense_act_fn": "silu"},
        {"is_gated_act": True},
        {"feed_forward_proj": "gated-silu"},
    ],
    ids=lambda field: next(iter(field)),
)
def test_what_would_change_the_computation_is_refused_by_name(field):
    config = to_config(OURS["tied-relu"], 0)
    assert from_config(config | {"dense_act_fn": "relu", "is_gated_act": False}) == from_config(config)
    with pytest.raises(ModelFolderError, match=rf"config\.json: {next(iter(field))} = "):
        from_config(config | field)


# Their cache has as many layers as the encoder, so a deeper decoder has to do without.
@pytest.mark.parametrize("name", OURS)
def test_greedy_ids_are_equal_with_our_cache_and_theirs(name, tmp_path):
    ours = random_module(OURS[name])
    to_folder(ours, tmp_path)
    theirs, source, read = theirs_from(tmp_path), ids(4, 9, 3), torch.tensor([9, 4, 1, 7])
    mask = (torch.arange(9) < read[:, None]).long()
    with torch.no_grad():
        expected = theirs.generate(
            input_ids=source, attention_mask=mask, max_new_tokens=30, min_new_tokens=30, do_sample=False,
            eos_token_id=None, use_cache=name != "own-head-relu-deeper",
        )  # fmt: skip
        cache, token, found = ours.new_cache(4), torch.zeros(4, 1, dtype=torch.int64), []
        memory = ours.encode(source, read)
        for step in range(30):
            hidden = ours.decode(token, None if step else memory, None if step else read, cache)
            token = (hidden @ ours.head_weight.T).argmax(-1)
            found.append(token)
    assert torch.equal(torch.cat(found, dim=1), expected[:, 1:])
