"""Masked models are measured on hidden tokens, the same ones every time, in a table of their own."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console

import zhixing
from zhixing.cli.app import main
from zhixing.evaluation.documents import encode_documents
from zhixing.evaluation.masked import choose_places, score_masked
from zhixing.model_folder import write_folder
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.encoder import EncoderModel
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.save import companion_files, neural_files
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.specials import MASK

TOKENIZER = ByteTokenizer(extra_tokens=(MASK,))
V, CONTEXT = TOKENIZER.vocab_size, 16
TEXTS = ["aaaaaaaaab" * 13, "a", "", "aaaab" * 40]


class Knows:
    """A masked model that gives ``a`` three quarters at every place, ``b`` an eighth, and the rest evenly."""

    family, vocab_size, context_length, has_head = "bert", V, CONTEXT, True

    def __init__(self):
        self.calls = []

    def masked_log_probs(self, ids, rows, places, lengths=None):
        self.calls.append((ids.copy(), rows.copy(), places.copy(), lengths.copy()))
        log_probs = np.full((len(rows), V), math.log(0.125 / (V - 2)), np.float32)
        log_probs[:, ord("a")], log_probs[:, ord("b")] = math.log(0.75), math.log(0.125)
        return log_probs


def measured(seed=0, texts=TEXTS):
    model = Knows()
    return score_masked("m", model, TOKENIZER, encode_documents(texts, TOKENIZER), seed=seed), model


def test_the_figures_are_those_of_the_hidden_tokens():
    row, model = measured()
    true = []
    for ids, rows, places, lengths in model.calls:
        assert (ids[rows, places] == TOKENIZER.special_id(MASK)).all()
        assert (ids == TOKENIZER.special_id(MASK)).sum() == len(rows)
        assert lengths.max() <= CONTEXT and (places < lengths[rows]).all()
        true.append(len(rows))
    assert row.masked == sum(true) and row.documents == 4
    b = round((1 - row.accuracy) * row.masked)  # the model always says a, then b
    assert 0 < b < row.masked / 2 and row.top5 == 1
    share = row.accuracy
    assert row.unigram_accuracy == pytest.approx(share) and row.unigram_top5 == pytest.approx(1)
    assert row.nats_per_token == pytest.approx(-share * math.log(0.75) - (1 - share) * math.log(0.125), rel=1e-5)
    assert row.unigram_nats == pytest.approx(-share * math.log(share) - (1 - share) * math.log(1 - share))
    assert row.unigram_nats <= row.nats_per_token  # no unigram can lose less than their own distribution


def test_a_share_of_each_piece_is_hidden_and_never_a_separator():
    _, model = measured()
    (ids, rows, _, lengths), *_ = model.calls
    for row, length in enumerate(lengths):
        ordinary = length - (ids[row, 0] == TOKENIZER.separator_id)
        assert (rows == row).sum() == max(1, round(0.15 * ordinary))
    assert (ids[:, 0] == TOKENIZER.separator_id).sum() == 3  # of the three documents with text


def test_masks_depend_on_seed_and_text_only():
    def hidden(seed=0, texts=TEXTS):
        _, model = measured(seed, texts)
        return {(tuple(ids[row, :length]),) for ids, _, _, lengths in model.calls for row, length in enumerate(lengths)}

    assert hidden() == hidden() == hidden(texts=TEXTS[::-1])
    assert hidden(texts=TEXTS[:1]) <= hidden()
    assert hidden(seed=1) != hidden()
    assert choose_places(np.array([V - 1, V - 2, 97, 98]), TOKENIZER.special_ids, [0]).tolist() in ([2], [3])
    assert len(choose_places(np.array([V - 1]), TOKENIZER.special_ids, [0])) == 0


def folder(path, settings):
    torch.manual_seed(0)
    files = neural_files(build_decoder(settings), settings, TOKENIZER.separator_id)
    write_folder(path, {**files, **companion_files(TOKENIZER)}, facts={"seed": 1})
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    shape = {"vocab_size": V, "context_length": CONTEXT, "layers": 1, "width": 8, "heads": 2}
    home = tmp_path_factory.mktemp("models")
    (home / "text.txt").write_text("a text that no model has seen " * 20, encoding="utf-8")
    return {
        "bert": folder(home / "bert", BertSettings(**shape)),
        "bare": folder(home / "bare", BertSettings(**shape, head=False)),
        "gpt2": folder(home / "gpt2", GPT2Settings(**shape)),
        "text": home / "text.txt",
    }


def test_both_kinds_of_models_in_one_call_have_two_tables(folders, tmp_path, capfd):
    results = tmp_path / "r.jsonl"
    report = zhixing.evaluate(
        [folders["bert"], folders["gpt2"]], text=[str(folders["text"])], yardsticks=("xz",), results=results
    )
    assert [row.name for row in report.rows if row.family != "compressor"] == ["gpt2"]
    assert [row.name for row in report.masked] == ["bert"]
    assert len(results.read_text(encoding="utf-8").splitlines()) == 3
    console = Console(width=100, record=True)
    console.print(report.render())
    shown = console.export_text()
    assert "bits/byte" in shown and "named right" in shown and "best unigram" in shown
    again = zhixing.evaluate([folders["bert"]], text=[str(folders["text"])])
    assert again.rows == () and again.masked[0].accuracy == report.masked[0].accuracy
    assert again.masked[0].nats_per_token == report.masked[0].nats_per_token
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folders["bert"]), "--text", str(folders["text"]), "--json"])
    found = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert not ended.value.code and found["rows"] == []
    assert found["masked"][0]["masked"] == report.masked[0].masked
    assert found["masked"][0]["facts"]["made_by"] == {"seed": 1}


@pytest.mark.parametrize(
    "words",
    [
        lambda f: ["evaluate", str(f["bare"]), "--text", str(f["text"])],
        lambda f: ["generate", str(f["bert"]), "text"],
        lambda f: ["serve", str(f["bert"]), "--port", "0"],
    ],
    ids=["evaluate-without-a-head", "generate", "serve"],
)
def test_what_a_masked_model_cannot_do_is_one_sentence(words, folders, capfd):
    with pytest.raises(SystemExit) as ended:
        main(words(folders))
    said = capfd.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in said
    assert "masked" in said


def test_padding_does_not_change_a_figure(folders):
    model = zhixing.load(folders["bert"])
    assert isinstance(model.model, EncoderModel)
    together = score_masked("m", model.model, TOKENIZER, encode_documents(TEXTS, TOKENIZER))
    parts = [score_masked("m", model.model, TOKENIZER, encode_documents([text], TOKENIZER)) for text in TEXTS if text]
    loss = sum(part.nats_per_token * part.masked for part in parts)
    assert together.nats_per_token * together.masked == pytest.approx(loss, rel=1e-5)
