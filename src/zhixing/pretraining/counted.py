"""Training the families without weights that a step changes: counted or fitted in one go."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.config import digest
from zhixing.errors import ConfigError
from zhixing.evaluation.run import versions
from zhixing.language import tr
from zhixing.models.hmm import HmmModel, HmmSettings
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramModel, NgramSettings
from zhixing.models.save import companion_files, hmm_files, mixture_files, ngram_files
from zhixing.pretraining.prepare import Ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run_folder import STATE, TrainResult, publish


def train_counted(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    """Learn an n-gram, a hidden Markov model or a mixture from ids, and publish it."""
    families = {"ngram": _train_ngram, "hmm": _train_hmm, "mixture": _train_mixture}
    return families[recipe.model.family](recipe, folder, ids)


def _train_ngram(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    shards = ids.prepared.train
    return train_ngram_on([shards.tokens(0, shards.token_count)], recipe, folder, ids)


def train_ngram_on(sequences: Iterable[NDArray[np.int64]], recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    """Count ``sequences`` of ids (the first of each is context only) into an n-gram model folder."""
    assert isinstance(recipe.model, NgramSettings)
    tokenizer = ids.tokenizer
    never = tokenizer.special_ids - {tokenizer.separator_id}
    kept = [np.asarray(sequence) for sequence in sequences]
    model = NgramModel.fit(kept, tokenizer.vocab_size, tokenizer.separator_id, recipe.model.order, never)
    seen = sum(len(sequence) - 1 for sequence in kept)
    facts = _facts(recipe, ids, "ngram") | {"order": recipe.model.order, "tokens_seen": seen}
    publish(recipe, folder, ngram_files(model) | companion_files(tokenizer), facts)
    return TrainResult(folder, facts)


def _train_hmm(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    assert isinstance(recipe.model, HmmSettings)
    shards, tokenizer = ids.prepared.train, ids.tokenizer
    never = tokenizer.special_ids - {tokenizer.separator_id}
    text = [shards.tokens(0, shards.token_count)]
    model = HmmModel.fit(text, tokenizer.vocab_size, recipe.model, recipe.seed, never)
    facts = _facts(recipe, ids, "hmm") | {"states": model.states, "passes": len(model.history)}
    facts |= {"tokens_seen": len(model.history) * shards.token_count}
    publish(recipe, folder, hmm_files(model) | companion_files(tokenizer), facts)
    return TrainResult(folder, facts)


def train_word_vectors(recipe: Recipe, folder: Path) -> TrainResult:
    """Learn word vectors from the words of the text, and publish them."""
    from zhixing.pretraining.word_vectors import learn_from_recipe

    files, found = learn_from_recipe(recipe, folder / STATE)
    made_by = {"family": "word_vectors", "recipe": digest(recipe), "seed": recipe.seed, "versions": versions()}
    publish(recipe, folder, files, made_by | found)
    shutil.rmtree(folder / STATE, ignore_errors=True)
    return TrainResult(folder, made_by | found)


def _train_mixture(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    from zhixing.evaluation.fit_mixture import fit_mixture
    from zhixing.evaluation.heldout import HeldOutShards
    from zhixing.models.load import load

    assert isinstance(recipe.model, MixtureSettings)
    members = [load(path) for path in recipe.model.members]
    different = [str(m.path) for m in members if m.tokenizer.fingerprint != members[0].tokenizer.fingerprint]
    if different:
        raise ConfigError(
            tr(
                f"model.members: {', '.join(different)} have another tokenizer than {members[0].path}",
                f"model.members：{', '.join(different)} 与 {members[0].path} 的分词器不同",
            )
        )
    held_out = HeldOutShards(ids.prepared.validation, ids.tokenizer, part="fit")
    mixture = fit_mixture([m.model for m in members], held_out.documents(members[0].tokenizer), recipe.model.weights)
    facts = _facts(recipe, ids, "mixture") | {"members": [dict(m.facts) for m in members]}
    files = mixture_files(mixture, [m.path for m in members]) | companion_files(members[0].tokenizer)
    publish(recipe, folder, files, facts)
    return TrainResult(folder, facts)


def _facts(recipe: Recipe, ids: Ids, family: str) -> dict[str, Any]:
    return {
        "family": family,
        "recipe": digest(recipe),
        "data": ids.prepared.train.digest,
        "tokenizer": ids.tokenizer.fingerprint,
        "seed": recipe.seed,
        "versions": versions(),
    }
