import numpy as np

from zhixing.corpus.document import Document, is_validation, split_point
from zhixing.corpus.settings import TextSettings
from zhixing.evaluation.documents import encode_documents, half_of, split_fit_report, text_digest


class Utf8:
    """Bytes as ids, 256 the separator: the smallest real tokenizer."""

    vocab_size, separator_id = 257, 256

    def encode_batch(self, texts):
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in texts]


def test_documents_open_and_close_with_the_separator_and_count_only_text_bytes():
    texts = [f"第{n}篇 text {'é' * (n % 5)}" for n in range(600)] + [""]
    documents = list(encode_documents(texts, Utf8()))
    assert len(documents) == len(texts)
    for text, document in zip(texts, documents, strict=True):
        assert document.ids[0] == document.ids[-1] == 256
        assert bytes(document.ids[1:-1].tolist()).decode() == text
        assert document.text_bytes == len(text.encode())


def test_halves_depend_on_the_text_alone_and_are_about_equal():
    texts = [f"document {n}" for n in range(2000)]
    documents = list(encode_documents(texts + texts[:100], Utf8()))
    fit, report = split_fit_report(documents)
    assert len(fit) + len(report) == len(documents)
    assert not {d.digest for d in fit} & {d.digest for d in report}
    assert 0.45 < len(fit) / len(documents) < 0.55
    assert half_of(text_digest("document 7")) == half_of(documents[7].digest)


def test_halves_are_independent_of_the_validation_split():
    point = split_point(TextSettings())
    held_out = [f"row {n}" for n in range(20_000) if is_validation(Document(f"row {n}", ""), point)]
    assert len(held_out) > 500
    share = np.mean([half_of(text_digest(text)) == "fit" for text in held_out])
    assert 0.42 < share < 0.58


def test_equal_texts_have_equal_digests():
    assert text_digest("a") == text_digest("a") != text_digest("b")
