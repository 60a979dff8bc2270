"""Learning word vectors: likeness is found, runs are repeatable, a stopped run goes on as if nothing had been."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from zhixing.config import load_settings
from zhixing.errors import ConfigError, DataError, ResumeError, Stopped
from zhixing.models.word_vectors import WordVectorSettings, load_word_vectors
from zhixing.pretraining import word_vector_learner
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import resume, train
from zhixing.pretraining.word_text import number_words, paragraphs, splitter
from zhixing.pretraining.word_vector_learner import learn, learner_for

ANIMALS, TOOLS = ["cat", "dog", "cow", "hen"], ["saw", "axe", "file", "drill"]
KINDS = [
    {},
    {"loss": "hierarchical_softmax"},
    {"kind": "cbow", "learning_rate": 0.2},
    {"kind": "cbow", "loss": "hierarchical_softmax", "learning_rate": 0.2},
    {"subwords": True, "buckets": 500},
    {"subwords": True, "buckets": 500, "kind": "cbow"},
    {"kind": "glove", "epochs": 20},
]
SMALL = {"width": 16, "window": 3, "min_count": 1, "thinning": 0.0, "epochs": 4}


def name(settings: dict) -> str:
    return " ".join(map(str, settings.values())) or "skip_gram"


def sentences() -> list[list[str]]:
    """Two worlds: animals eat and sleep, tools cut and break."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(1500):
        things, does = (ANIMALS, ["eats", "sleeps", "runs"]) if rng.random() < 0.5 else (TOOLS, ["cuts", "breaks"])
        made.append(["the", str(rng.choice(things)), str(rng.choice(does)), "now"])
    return made


TEXT = sentences()


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_words_of_one_world_are_nearer_than_those_of_two(kind) -> None:
    model = learn(TEXT, WordVectorSettings(**SMALL | kind))
    inside = np.mean([model.similarity(a, b) for world in (ANIMALS, TOOLS) for a in world for b in world if a < b])
    across = np.mean([model.similarity(a, b) for a in ANIMALS for b in TOOLS])
    assert 1 - inside < (1 - across) / 2, (inside, across)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[4], KINDS[6]], ids=name)
def test_one_worker_is_repeatable_and_the_seed_matters(kind, monkeypatch) -> None:
    monkeypatch.setattr(word_vector_learner, "_PLACES", 1000)
    settings = WordVectorSettings(**SMALL | kind)
    first, again, other = (learn(TEXT[:400], settings, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.vectors, again.vectors)
    assert not np.allclose(first.vectors, other.vectors)


def test_two_workers_learn_too() -> None:
    model = learn(TEXT, WordVectorSettings(**SMALL, workers=2))
    assert model.similarity("cat", "dog") > model.similarity("cat", "axe")


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[5], KINDS[6]], ids=name)
def test_a_learner_restored_between_portions_ends_as_if_nothing_had_been(kind, monkeypatch) -> None:
    monkeypatch.setattr(word_vector_learner, "_PLACES", 700)
    settings = WordVectorSettings(**SMALL | kind)
    words = number_words(TEXT[:300], settings)
    whole, first, second = (learner_for(words, settings, 3) for _ in range(3))
    while whole.done < whole.portions:
        whole.advance()
    for _ in range(whole.portions // 2):
        first.advance()
    second.restore({name: value.copy() for name, value in first.weights.items()}, first.done)
    while second.done < second.portions:
        second.advance()
    assert np.array_equal(whole.finished().vectors, second.finished().vectors)


def test_unseen_words_have_vectors_near_their_likes() -> None:
    model = learn(TEXT, WordVectorSettings(**SMALL | KINDS[4]))
    assert "drills" not in model
    assert model.similarity("drills", "drill") > model.similarity("drills", "cat")


def test_words_are_counted_numbered_and_thinned() -> None:
    settings = WordVectorSettings(min_count=2)
    found = number_words([["b", "a", "b"], ["c", "a", "b"]], settings)
    assert found.words == ("b", "a") and found.counts.tolist() == [3, 2]
    assert found.text.tolist() == [0, 1, 0, -1, 1, 0, -1] and found.words_read == 6
    with pytest.raises(DataError, match="min_count"):
        number_words([["a", "b"]], settings)


def test_splitting() -> None:
    assert splitter(WordVectorSettings())("Don't 知行 stop_it, 42!") == ["don't", "知", "行", "stop_it", "42"]
    kept = WordVectorSettings(words="spaces", lowercase=False)
    assert splitter(kept)("Don't 知行  stop, ") == ["Don't", "知行", "stop,"]
    assert paragraphs("a b\nc\n \nd") == ["a b\nc", "d"]


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    (tmp_path / "text").mkdir()
    for number in range(30):
        lines = [" ".join(words) for words in TEXT[number * 50 : number * 50 + 50]]
        (tmp_path / "text" / f"{number}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    changes = [f"text.paths=[{str(tmp_path / 'text')!r}]", "model.family=word_vectors"]
    changes += [f"model.{key}={value}" for key, value in SMALL.items()]
    return load_settings(Recipe, None, changes)


def test_a_recipe_becomes_a_folder(recipe, tmp_path) -> None:
    result = train(recipe, tmp_path / "run", announce=False)
    model = load_word_vectors(tmp_path / "run")
    assert result.facts["words"] == len(model) == 15
    assert model.made_by["width"] == 16
    assert not (tmp_path / "run" / "training_state").exists()
    with pytest.raises(ResumeError, match="finished"):
        resume(tmp_path / "run")


def test_a_stopped_run_goes_on_where_it_was(recipe, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(word_vector_learner, "_PLACES", 1000)
    train(recipe, tmp_path / "whole", announce=False)
    right = word_vector_learner.Learner.advance

    def stops(self) -> int:
        if self.done == 3:
            raise Stopped(signal.SIGINT)
        return right(self)

    monkeypatch.setattr(word_vector_learner.Learner, "advance", stops)
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", announce=False)
    monkeypatch.setattr(word_vector_learner.Learner, "advance", right)
    with pytest.raises(ResumeError, match="begun with"):
        resume(tmp_path / "run", overrides=["model.epochs=9"])
    resume(tmp_path / "run")
    whole, stopped = (load_word_vectors(tmp_path / name) for name in ("whole", "run"))
    assert np.array_equal(whole.vectors, stopped.vectors)


def test_what_word_vectors_do_not_need_is_refused(recipe, tmp_path) -> None:
    with pytest.raises(ConfigError, match="--ids"):
        train(recipe, tmp_path / "a", ids_folder=tmp_path / "ids", announce=False)
    with pytest.raises(ConfigError, match="--init-from"):
        train(recipe, tmp_path / "b", init_from=tmp_path / "c", announce=False)
