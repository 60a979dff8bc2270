import pytest

from zhixing.training.verdict import best_model, is_number, sentences


def row(name, bits, family="llama"):
    return {"name": name, "family": family, "bits_per_byte": bits, "documents": 41, "text_bytes": 401_211}


def test_of(other, better):
    return {"a": "best", "b": other, "better": better}


test_of.__test__ = False


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "en")


def said(evaluation, metrics=()):
    return " ".join(sentences(evaluation, metrics)).replace("<strong>", "").replace("</strong>", "")


def test_best_is_said_only_if_every_test_agrees():
    rows = [row("best", 1.2), row("b", 1.3), row("c", 1.4)]
    sure = said({"rows": rows, "comparisons": [test_of("b", "best"), test_of("c", "best")]})
    assert "best is the best of 3 models: 1.200 bits per byte." in sure
    assert "better than b and c" in sure
    unsure = said({"rows": rows, "comparisons": [test_of("b", None), test_of("c", "best")]})
    assert unsure.startswith("Lowest of 3 models: best, 1.200 bits per byte.")
    assert "better than c." in unsure and "not distinguishable from b." in unsure


def test_few_documents_tell_nothing():
    rows = [row("best", 1.2), row("b", 1.3)]
    words = said({"rows": rows, "comparisons": [test_of("b", None) | {"too_few": True}]})
    assert "On so few documents no test can tell the models apart" in words and "distinguishable" not in words


def test_the_compressor_may_win():
    words = said({"rows": [row("xz -9", 1.0, "compressor"), row("gpt", 1.5)], "comparisons": []})
    assert words.startswith("gpt needs 1.500 bits per byte. Measured on 41 held-out documents, 401\u00a0kB")
    assert "xz -9 needs only 1.000" in words


def test_the_distance_to_the_compressor():
    words = said({"rows": [row("gpt", 1.2), row("xz -9", 1.5, "compressor")], "comparisons": []})
    assert "the best model is 20\u00a0% below it" in words


def test_without_evaluation_the_loss_is_told():
    metrics = [
        {"loss": 7.6},
        {"loss": "nan"},
        {"validation_loss": 3.1},
        {"loss": 2.9},
        {"validation_loss": 3.2},
    ]
    words = said({}, metrics)
    assert "from 7.60 to 2.90 nats per token" in words
    assert "it is 3.20, at best 3.10" in words


@pytest.mark.parametrize("metrics", [[], [{"loss": "nan"}], [{"step": 1}]])
def test_without_anything_that_is_told(metrics):
    assert "recorded no loss" in said({}, metrics)


def test_names_are_escaped():
    assert "<img" not in "".join(sentences({"rows": [row("<img src=x>", 1.0)]}, []))


def test_a_model_without_finite_figure_is_never_the_best():
    assert best_model([row("a", None), row("b", 2.0)])["name"] == "b"
    assert best_model([row("a", None)]) is None


def test_numbers():
    assert [is_number(v) for v in (1, 0.5, "nan", float("inf"), True, None)] == [True, True] + [False] * 4


def test_chinese(monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    words = said({"rows": [row("best", 1.2), row("b", 1.3)], "comparisons": [test_of("b", "best")]})
    assert "2 个模型中最好的是 best：每字节 1.200 比特。" in words and "它优于 b。" in words
