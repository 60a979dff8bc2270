"""ARPA there and back: the same ids and probabilities, beside KenLM; words become a tokenizer; damage is named."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

from zhixing.errors import DataError, InputError
from zhixing.exchange.arpa import token_names
from zhixing.exchange.run import export_model, import_model
from zhixing.model_folder import write_folder
from zhixing.models.load import load
from zhixing.models.ngram import NgramModel
from zhixing.models.save import companion_files, ngram_files
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

LINES = ["the cat sat on the mat", "the dog sat on the cat", "a cat saw the dog", "知 行 合 一", "the mat"] * 3
KINDS = ("bpe", "byte", "character")


@pytest.fixture(params=KINDS)
def source(request, tmp_path):
    size = {"bpe": 300, "byte": 300, "character": 300}[request.param]
    tokenizer = train_tokenizer(TokenizerSettings(kind=request.param, vocab_size=size), LINES)
    return write(tmp_path / request.param, tokenizer)


def write(folder, tokenizer, order=4):
    separator = tokenizer.separator_id
    texts = [np.array([separator, *tokenizer.encode(line), separator]) for line in LINES]
    unpredictable = frozenset(tokenizer.special_ids - {separator})
    model = NgramModel.fit(texts, tokenizer.vocab_size, separator, order, unpredictable)
    write_folder(folder, ngram_files(model) | companion_files(tokenizer), facts={})
    return folder


def test_there_and_back(source, tmp_path, options) -> None:
    pytest.importorskip("kenlm")
    sent = export_model(source, "arpa", tmp_path / "there", options)
    back = import_model(tmp_path / "there" / "model.arpa", tmp_path / "back", options=options)
    again = import_model(tmp_path / "there", tmp_path / "again", options=options)
    for found in (sent, back, again):
        assert found.ok and found.parity.checked_with == "kenlm" and found.format == "arpa"
        measures = {one.name: one for one in found.parity.measures}
        assert measures["log_probability_difference"].value < 1e-4 and measures["greedy_agreement"].value == 1
        assert measures["perplexity"].value > 1.5
    before, after = load(source), load(tmp_path / "back")
    assert before.tokenizer.fingerprint == after.tokenizer.fingerprint
    text = "the dog saw a cat on the 知"
    assert before.tokenizer.encode(text) == after.tokenizer.encode(text)
    ids = np.array([[before.tokenizer.separator_id, *before.tokenizer.encode(text), before.tokenizer.separator_id]])
    np.testing.assert_allclose(before.model.score(ids), after.model.score(ids), atol=1e-5)
    one, _ = before.model.next_log_probs(ids[:, :4], before.model.initial_state(1))
    other, _ = after.model.next_log_probs(ids[:, :4], after.model.initial_state(1))
    np.testing.assert_allclose(one, other, atol=1e-5)
    for table, same in zip(before.model.tables, after.model.tables, strict=True):
        assert np.array_equal(table.starts, same.starts) and np.array_equal(table.words, same.words)


def test_white_space_and_reserved_names_are_spelled_by_number(tmp_path) -> None:
    tokenizer = train_tokenizer(TokenizerSettings(kind="character", vocab_size=300), ["a\u3000b\u00a0c" * 3])
    names, unknown = token_names(tokenizer, tokenizer.vocab_size + 2)
    assert names[256] == "<id:256>" and names[-1] == f"<id:{tokenizer.vocab_size + 1}>" and unknown is None
    assert all(name.split() == [name] for name in names) and len(set(names)) == len(names)


ARPA = r"""
\data\
ngram 1=6
ngram 2=4

\1-grams:
-1.0	<unk>
-99	<s>	-0.3010300
-0.5228787	</s>
-0.5228787	cat	-0.1
-0.6989700	dog	0.2
-1.0	知

\2-grams:
-0.2	<s> cat
-0.3	cat dog
-0.4	cat </s>
-0.1	dog </s>

\end\
"""


def test_words_become_a_tokenizer(tmp_path, options, caplog) -> None:
    pytest.importorskip("kenlm")
    (tmp_path / "model.arpa").write_text(ARPA, encoding="utf-8")
    with caplog.at_level(logging.INFO, "zhixing"):
        found = import_model(tmp_path / "model.arpa", tmp_path / "model", options=options)
    assert found.ok and found.parity.checked_with == "kenlm" and "3 words are the tokens" in caplog.text
    loaded = load(tmp_path / "model")
    tokenizer, model = loaded.tokenizer, loaded.model
    assert tokenizer.encode("cat  dog\nbird 知") == [0, 1, 4, 2] and tokenizer.decode([0, 1]) == "cat dog"
    ids = np.array([[3, 0, 1, 4, 2, 3]])
    # A weight above 1, as pruning leaves it, and back-off from a context that is a known n-gram.
    expected = [-0.2, -0.3, 0.2 - 1.0, -1.0, -0.5228787]
    np.testing.assert_allclose(model.score(ids)[0] / np.log(10), expected, atol=1e-6)
    probs, _ = model.next_log_probs(np.array([[1]]), model.initial_state(1))
    np.testing.assert_allclose(
        probs[0] / np.log(10), [0.2 - 0.5228787, 0.2 - 0.69897, 0.2 - 1, -0.1, 0.2 - 1], atol=1e-6
    )
    again = export_model(tmp_path / "model", "arpa", tmp_path / "again", options)
    assert again.ok
    text = (tmp_path / "again" / "model.arpa").read_text(encoding="utf-8")
    assert "ngram 1=6\n" in text and "\n-1\t<unk>\t0\n" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\end\\\n", "", r"arpa:18: the file ends before"),
        ("-0.4\tcat </s>\n-0.1\tdog </s>\n\n\\end\\\n", "", r"arpa:16: the file ends before"),
        ("ngram 2=4", "ngram 2=5", r"arpa:20: ends 4 n-grams of order 2, but 5 were announced"),
        ("ngram 2=4", "ngram 2=400000", r"arpa:4: announces 400,000"),
        ("ngram 2=4", "ngram 3=4", r"arpa:4: counts n-grams of order 3, should be 2"),
        ("-0.2\t<s> cat", "nan\t<s> cat", r"arpa:15: 'nan' is not the logarithm"),
        ("-0.2\t<s> cat", "0.5\t<s> cat", r"arpa:15: '0.5' is not the logarithm"),
        ("-0.2\t<s> cat", "-0.2\t<s> cat dog", r"arpa:15: should hold a probability, 2 words"),
        ("-0.2\t<s> cat", "-0.2\tcat <s>", r"arpa:15: '<s>' cannot stand inside"),
        ("-0.2\t<s> cat", "-0.2\t<s> bird", r"arpa:15: 'bird' is not among the single words"),
        ("-0.2\t<s> cat", "-0.2\tcat dog", r"arpa:16: repeats 'cat dog'"),
        ("-0.6989700\tdog", "-0.6989700\tcat", r"arpa:11: repeats 'cat'"),
        ("-0.6989700\tdog", "-1.6989700\tdog", r"arpa:14: the probabilities of the single words before sum to 0.82"),
        ("\\data\\", "\\dat\\", r"ends before"),
        ("\\2-grams:", "\\3-grams:", r"arpa:14: should be \\2-grams:"),
        ("\\end\\", "\\3-grams:", r"arpa:20: should be \\end\\"),
    ],
)  # fmt: skip
def test_damage_is_named_with_its_line(tmp_path, old, new, message) -> None:
    assert old in ARPA
    (tmp_path / "model.arpa").write_text(ARPA.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        import_model(tmp_path / "model.arpa", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_bytes_that_are_not_utf8(tmp_path) -> None:
    (tmp_path / "model.arpa").write_bytes(ARPA.encode().replace("知".encode(), b"\xff"))
    with pytest.raises(DataError, match=r"arpa:12: is not UTF-8"):
        import_model(tmp_path / "model.arpa", tmp_path / "model")


def test_a_tokenizer_that_does_not_fit(tmp_path, source) -> None:
    (tmp_path / "model.arpa").write_text(ARPA, encoding="utf-8")
    from zhixing.exchange.formats import Options
    from zhixing.exchange.questions import Sample, default_texts

    options = Options(Sample(default_texts()), tokenizer=source)
    with pytest.raises(DataError, match=r"arpa:\d+: ('(cat|dog)' is not a token|<unk> has the probability)"):
        import_model(tmp_path / "model.arpa", tmp_path / "model", options=options)


def test_without_kenlm_the_file_is_read_back(tmp_path, options, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=300), LINES)
    found = export_model(write(tmp_path / "model", tokenizer), "arpa", tmp_path / "out", options)
    assert found.ok and found.parity.checked_with == "this program" and "KenLM was not used" in found.render()


def test_other_families_are_refused(make, options) -> None:
    with pytest.raises(InputError, match="only n-grams"):
        export_model(make("gpt2"), "arpa", options=options)
