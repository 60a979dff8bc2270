"""Equal to transformers in both directions, on random models: ids, logits in float32, greedy text.

Folders of ours open there unchanged; folders written there open here.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from zhixing.generation.generate import generate  # noqa: E402
from zhixing.generation.settings import GenerationSettings  # noqa: E402
from zhixing.model_folder import write_folder  # noqa: E402
from zhixing.models.decoders import build_decoder  # noqa: E402
from zhixing.models.gpt2 import GPT2Settings  # noqa: E402
from zhixing.models.llama import LlamaSettings  # noqa: E402
from zhixing.models.load import load  # noqa: E402
from zhixing.models.rotary_scaling import LinearScaling, Llama3Scaling  # noqa: E402
from zhixing.models.save import companion_files, neural_files  # noqa: E402
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer  # noqa: E402

TEXT = "def read(path):\n    return open(path).read()  # 知行合一 knowing and doing are one\n" * 20
CONTEXT, V = 24, 300
PROMPTS = ["def", "    return open(", "知行", "x"]
LENGTHS = [1, 2, 5, 13, CONTEXT]

OURS_SHAPE = {"vocab_size": V, "context_length": CONTEXT, "layers": 2, "width": 32, "heads": 4}
OURS = {
    "gpt2": GPT2Settings(**OURS_SHAPE, dropout=0.1),
    "gpt2-inner": GPT2Settings(**OURS_SHAPE, inner_width=40, norm_epsilon=1e-6),
    "qwen3": LlamaSettings(**OURS_SHAPE, inner_width=48),
    "qwen3-grouped-tied": LlamaSettings(**OURS_SHAPE, inner_width=48, key_value_heads=2, tied=True),
    "llama": LlamaSettings(**OURS_SHAPE, inner_width=48, query_key_norm=False),
    "llama-grouped": LlamaSettings(
        **OURS_SHAPE, inner_width=40, key_value_heads=1, query_key_norm=False, rotary_theta=500.0
    ),
    "llama-wide-heads": LlamaSettings(**OURS_SHAPE, inner_width=48, head_width=12, query_key_norm=False, tied=True),
    "llama-biases-stretched": LlamaSettings(
        **OURS_SHAPE, inner_width=48, query_key_norm=False, attention_bias="all",
        rotary_scaling=Llama3Scaling(factor=4.0, original_context=16),
    ),
    "llama-linear": LlamaSettings(
        **OURS_SHAPE, inner_width=48, query_key_norm=False, rotary_scaling=LinearScaling(factor=3.0)
    ),
    "mistral": LlamaSettings(**OURS_SHAPE, inner_width=48, query_key_norm=False, attention_window=5, key_value_heads=2),
    "mistral-odd-heads": LlamaSettings(
        **OURS_SHAPE | {"heads": 3}, inner_width=48, query_key_norm=False, head_width=10
    ),
    "qwen2": LlamaSettings(
        **OURS_SHAPE, inner_width=48, query_key_norm=False, attention_bias="query_key_value", key_value_heads=2,
        tied=True,
    ),
    "qwen2-window": LlamaSettings(
        **OURS_SHAPE, inner_width=48, query_key_norm=False, attention_bias="query_key_value", attention_window=4,
        full_layers=1, head_width=6,
    ),
    "qwen3-window": LlamaSettings(**OURS_SHAPE, inner_width=48, attention_window=6, attention_bias="all"),
}  # fmt: skip

THEIRS_SHAPE = {
    "vocab_size": V,
    "max_position_embeddings": CONTEXT,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def gpt2(**fields):
    config = transformers.GPT2Config(vocab_size=V, n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=4, **fields)
    return transformers.GPT2LMHeadModel(config)


def llama(**fields):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**THEIRS_SHAPE, **fields))


def qwen3(**fields):
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**THEIRS_SHAPE, **fields))


def mistral(**fields):
    return transformers.MistralForCausalLM(transformers.MistralConfig(**THEIRS_SHAPE | fields))


def qwen2(**fields):
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**THEIRS_SHAPE | fields))


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
THEIRS = {
    "gpt2": lambda: gpt2(),
    "gpt2-inner": lambda: gpt2(n_inner=40, layer_norm_epsilon=1e-3, activation_function="gelu_pytorch_tanh"),
    "llama": lambda: llama(),
    "llama-grouped": lambda: llama(num_key_value_heads=2, rms_norm_eps=1e-3),
    "llama-tied": lambda: llama(tie_word_embeddings=True, num_key_value_heads=1),
    "llama-theta": lambda: llama(rope_parameters={"rope_type": "default", "rope_theta": 77.0}, head_dim=6),
    "qwen3": lambda: qwen3(num_key_value_heads=4, head_dim=8),
    "qwen3-grouped-tied": lambda: qwen3(num_key_value_heads=2, head_dim=16, tie_word_embeddings=True),
    "llama-biases": lambda: llama(attention_bias=True, num_key_value_heads=2),
    "llama-3.1": lambda: llama(
        rope_parameters=LLAMA3 | {"rope_theta": 5e3, "original_max_position_embeddings": 16}, num_key_value_heads=2
    ),
    "llama-linear": lambda: llama(rope_parameters={"rope_type": "linear", "factor": 2.5, "rope_theta": 1e4}),
    "mistral": lambda: mistral(sliding_window=5, num_key_value_heads=2),
    "mistral-wide-heads": lambda: mistral(sliding_window=3, num_key_value_heads=1, head_dim=10, num_hidden_layers=3),
    "mistral-no-window": lambda: mistral(sliding_window=None, num_key_value_heads=4),
    "qwen2": lambda: qwen2(num_key_value_heads=2),
    "qwen2-window": lambda: qwen2(
        num_key_value_heads=2, use_sliding_window=True, sliding_window=4, max_window_layers=1, tie_word_embeddings=True
    ),
    "qwen3-window": lambda: qwen3(
        num_key_value_heads=2, head_dim=8, use_sliding_window=True, sliding_window=6, max_window_layers=0
    ),
    "qwen3-biases": lambda: qwen3(num_key_value_heads=2, head_dim=8, attention_bias=True),
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TokenizerSettings(vocab_size=V, min_frequency=2), [TEXT])


def shake(module):
    """Random weights with opinions: no two tokens nearly tie, so more than rounding decides greedy text."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            is_gain = weights.ndim == 1 and name.endswith("weight")
            weights.normal_(1.0 if is_gain else 0.0, 0.2)
    return module.eval()


def open_there(folder):
    """float32, on the plain implementation."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def write_there(model, folder, tokenizer, **options):
    model.save_pretrained(folder, **options)
    tokenizer.save(folder)
    return folder


def ids(batch, length):
    return torch.randint(0, V, (batch, length), generator=torch.Generator().manual_seed(length))


def our_logits(model, batch):
    with torch.no_grad():
        return model.module(batch) @ model.module.head_weight.T


def assert_equal_models(ours, theirs):
    for length in LENGTHS:
        batch = ids(3, length)
        with torch.no_grad():
            expected = theirs(batch).logits
        assert expected.std() > 0.3, "the model must have opinions"
        torch.testing.assert_close(our_logits(ours, batch), expected, atol=1e-5, rtol=1e-5)


def assert_equal_greedy_text(ours, theirs, tokenizer, prompts=PROMPTS):
    """Of the special tokens only the separator may be written, here by rule, there because we ask for it."""
    settings = GenerationSettings(temperature=0.0, max_new_tokens=12)
    never = sorted(tokenizer.special_ids - {tokenizer.separator_id}) or None
    written = generate(ours, tokenizer, prompts, settings)
    for prompt, text in zip(prompts, written, strict=True):
        read = torch.tensor([[tokenizer.separator_id, *tokenizer.encode(prompt)]])
        found = theirs.generate(
            read,
            attention_mask=torch.ones_like(read),
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=never,
            eos_token_id=tokenizer.separator_id,
            pad_token_id=tokenizer.separator_id,
        )[0, read.shape[1] :].tolist()
        assert list(text.ids) == found, prompt


# ---------------------------------------------------------------- ours opens there


@pytest.fixture(scope="module", params=list(OURS))
def our_folder(request, tokenizer, tmp_path_factory):
    settings = OURS[request.param]
    folder = tmp_path_factory.mktemp("ours") / "model"
    files = neural_files(shake(build_decoder(settings)), settings, tokenizer.separator_id)
    write_folder(folder, {**files, **companion_files(tokenizer)}, facts={})
    return folder


def test_our_folder_opens_there(our_folder, tokenizer):
    ours, theirs = load(our_folder), open_there(our_folder)
    assert_equal_models(ours.model, theirs)
    assert_equal_greedy_text(ours.model, theirs, tokenizer)


def test_every_weight_arrives_there(our_folder):
    """Nothing is newly initialised and nothing ignored."""
    _, report = transformers.AutoModelForCausalLM.from_pretrained(our_folder, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[kind], (kind, report[kind])


def test_our_tokenizer_opens_there(our_folder, tokenizer):
    # For a Qwen2 the automatic class is transformers' own Qwen2Tokenizer, whatever the folder says: it cuts text as
    # Qwen's tokenizer does, not as this one. The folder's own is opened by the general class.
    qwen2 = json.loads((our_folder / "config.json").read_text(encoding="utf-8"))["model_type"] == "qwen2"
    kind = transformers.PreTrainedTokenizerFast if qwen2 else transformers.AutoTokenizer
    theirs = kind.from_pretrained(our_folder)
    for text in (TEXT, "  odd  spacing\t\n\n", "🙂 é", *PROMPTS):
        assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert theirs.eos_token_id == tokenizer.separator_id


def test_plain_generate_there_stops_where_ours_stops(our_folder, tokenizer):
    """With nothing but the folder's own ``generation_config.json``."""
    theirs = open_there(our_folder)
    assert theirs.generation_config.eos_token_id == tokenizer.separator_id
    assert theirs.generation_config.bos_token_id == tokenizer.separator_id


def test_written_again_there_it_opens_here(our_folder, tokenizer, tmp_path):
    write_there(open_there(our_folder), tmp_path / "again", tokenizer)
    batch = ids(2, 9)
    again, first = load(tmp_path / "again").model, load(our_folder).model
    assert torch.equal(our_logits(again, batch), our_logits(first, batch))


# ---------------------------------------------------------------- theirs opens here


@pytest.fixture(scope="module", params=list(THEIRS))
def theirs(request):
    return shake(THEIRS[request.param]())


def test_their_folder_opens_here(theirs, tokenizer, tmp_path):
    ours = load(write_there(theirs, tmp_path / "model", tokenizer))
    assert_equal_models(ours.model, theirs)
    assert_equal_greedy_text(ours.model, theirs, tokenizer)


def test_padded_batches_and_caches_agree(theirs, tokenizer, tmp_path):
    """Their left padding with a mask, read anew, is our right padding with lengths and a cache."""
    model = load(write_there(theirs, tmp_path / "model", tokenizer)).model
    texts = [ids(1, n)[0] for n in (3, 9, 1, 6)]
    lengths, longest = np.array([len(text) for text in texts]), 9
    right = np.zeros((4, longest), np.int64)
    left, mask = torch.zeros(4, longest, dtype=torch.int64), torch.zeros(4, longest, dtype=torch.int64)
    for row, text in enumerate(texts):
        right[row, : len(text)] = text
        left[row, longest - len(text) :] = text
        mask[row, longest - len(text) :] = 1
    said, state = model.next_log_probs(right, model.initial_state(4), lengths)
    for step in range(4):
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with torch.no_grad():
            logits = theirs(left, attention_mask=mask, position_ids=positions, use_cache=False).logits[:, -1]
        expected = torch.log_softmax(logits, dim=-1).numpy()
        np.testing.assert_allclose(said, expected, atol=2e-5)
        chosen = expected.argmax(axis=1) if step % 2 else np.array([5, 6, 7, 8])
        said, state = model.next_log_probs(chosen[:, None], state)
        left = torch.cat([left, torch.from_numpy(chosen[:, None])], dim=1)
        mask = torch.cat([mask, torch.ones(4, 1, dtype=torch.int64)], dim=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["gpt2", "llama-grouped", "qwen3-grouped-tied"])
def test_half_precision_files_load_as_float32(kind, dtype, tokenizer, tmp_path):
    folder = write_there(shake(THEIRS[kind]()).to(dtype), tmp_path / "model", tokenizer)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["dtype"] == str(dtype)[6:]
    ours = load(folder).model
    assert {weights.dtype for weights in ours.module.parameters()} == {torch.float32}
    assert_equal_models(ours, open_there(folder))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3-grouped-tied"])
def test_shards(kind, tokenizer, tmp_path):
    model = shake(THEIRS[kind]())
    folder = write_there(model, tmp_path / "model", tokenizer, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert_equal_models(load(folder).model, model)


def rewrite(folder, change):
    """Change the tensors of a folder's weight file."""
    from safetensors.torch import load_file, save_file

    tensors = change(load_file(folder / "model.safetensors"))
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"})


def test_a_gpt2_as_it_was_published(tokenizer, tmp_path):
    """Without the prefix, with the causal masks as buffers, and the head beside the embedding."""
    model = shake(THEIRS["gpt2"]())
    folder = write_there(model, tmp_path / "model", tokenizer)

    def older(tensors):
        bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
        for layer in range(2):
            bare[f"h.{layer}.attn.bias"] = torch.ones(CONTEXT, CONTEXT).tril()[None, None]
            bare[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        return bare | {"lm_head.weight": bare["wte.weight"].clone()}

    rewrite(folder, older)
    assert_equal_models(load(folder).model, model)


def test_a_config_as_transformers_4_wrote_it(tokenizer, tmp_path):
    model = shake(THEIRS["llama-theta"]())
    folder = write_there(model, tmp_path / "model", tokenizer)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    base = config.pop("rope_parameters")["rope_theta"]
    config |= {
        "rope_theta": base,
        "rope_scaling": None,
        "torch_dtype": config.pop("dtype"),
        "pretraining_tp": 1,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert_equal_models(load(folder).model, model)


def test_old_rotary_buffers_are_passed_over(tokenizer, tmp_path):
    model = shake(THEIRS["llama"]())
    folder = write_there(model, tmp_path / "model", tokenizer)
    rewrite(folder, lambda t: t | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    assert_equal_models(load(folder).model, model)


def test_a_tokenizer_trained_by_the_tokenizers_library(tmp_path):
    """A GPT-2 tokenizer as another program makes it, saved by transformers beside a GPT-2."""
    import tokenizers as library

    trained = library.Tokenizer(library.models.BPE())
    trained.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=V,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator([TEXT], trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained, eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    )
    model = shake(THEIRS["gpt2"]())
    model.save_pretrained(tmp_path)
    fast.save_pretrained(tmp_path)
    ours = load(tmp_path)
    for text in (TEXT, *PROMPTS, "🙂 unseen"):
        assert ours.tokenizer.encode(text) == fast(text)["input_ids"]
    assert ours.tokenizer.separator_id == fast.eos_token_id
    assert_equal_greedy_text(ours.model, model, ours.tokenizer)


@pytest.mark.parametrize(
    "model, field",
    [
        (
            lambda: llama(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
            "rope_parameters",
        ),
        (
            lambda: qwen2(
                num_key_value_heads=4, rope_parameters={"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}
            ),
            "rope_parameters",
        ),
        (lambda: llama(rope_parameters={"rope_theta": 1e4, "partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        (lambda: llama(logit_softcap=30.0), "logit_softcap"),
        (lambda: llama(mlp_bias=True), "mlp_bias"),
        (lambda: llama(hidden_act="gelu"), "hidden_act"),
        (
            lambda: qwen3(
                head_dim=8,
                num_key_value_heads=4,
                use_sliding_window=True,
                sliding_window=4,
                layer_types=["sliding_attention", "full_attention"],
            ),
            "layer_types",
        ),
        (lambda: gpt2(activation_function="relu"), "activation_function"),
        (lambda: gpt2(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx"),
        (lambda: gpt2(add_cross_attention=True), "add_cross_attention"),
    ],
)
def test_what_we_cannot_compute_is_refused_by_name(model, field, tokenizer, tmp_path):
    folder = write_there(model(), tmp_path / "model", tokenizer)
    with pytest.raises(Exception, match=field) as caught:
        load(folder)
    assert type(caught.value).__name__ == "ModelFolderError"


def test_another_family_is_refused(tokenizer, tmp_path):
    config = transformers.GPTNeoXConfig(
        vocab_size=V, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    folder = write_there(transformers.GPTNeoXForCausalLM(config), tmp_path / "model", tokenizer)
    with pytest.raises(Exception, match="gpt_neox") as caught:
        load(folder)
    assert type(caught.value).__name__ == "ModelFolderError"


def test_a_head_of_another_task_is_refused(tokenizer, tmp_path):
    config = transformers.GPT2Config(vocab_size=V, n_positions=8, n_embd=8, n_layer=1, n_head=2, pad_token_id=0)
    folder = write_there(transformers.GPT2ForSequenceClassification(config), tmp_path / "model", tokenizer)
    with pytest.raises(Exception, match=r"not part of the model: .*score\.weight"):
        load(folder)


def test_weights_in_a_pickle_are_not_opened(tokenizer, tmp_path):
    folder = write_there(gpt2(), tmp_path / "model", tokenizer)
    shutil.copy(folder / "model.safetensors", folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(Exception, match=r"pytorch_model\.bin.*never opened"):
        load(folder)
