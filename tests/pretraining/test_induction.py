"""Copying heads: a model that has read no text continues what it sees a second time."""

from pathlib import Path

import pytest
import torch

from zhixing.config import load_settings
from zhixing.errors import ConfigError
from zhixing.models.llama import Llama, LlamaSettings
from zhixing.nn.positions import rotate
from zhixing.pretraining.induction import build_copying_heads, leave_room, plan_copying
from zhixing.pretraining.recipe import Recipe

VOCABULARY, LENGTH = 300, 40
SHAPE = LlamaSettings(
    vocab_size=VOCABULARY, context_length=96, layers=2, width=192, heads=4, inner_width=64, rotary_theta=1e6
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def model_with(copying: bool) -> Llama:
    """A new model whose output head tells the tokens apart; with or without heads that copy."""
    torch.manual_seed(0)
    model = Llama(SHAPE)
    plan = plan_copying(SHAPE)
    assert plan is not None and model.head is not None
    leave_room(model, plan)
    torch.nn.init.normal_(model.head.weight, std=0.2)
    with torch.no_grad():
        model.head.weight[:, min(plan.starts) :] = 0
    if copying:
        build_copying_heads(model, plan, torch.full((VOCABULARY,), 1 / VOCABULARY))
    return model.eval()


def nats_gained(model: Llama) -> float:
    """Return how much better the tokens of a random text are expected when it is read a second time, in nats."""
    text = torch.randint(VOCABULARY, (4, LENGTH), generator=torch.Generator().manual_seed(1))
    ids = torch.cat([text, text], dim=1)
    with torch.no_grad():
        expected = (model(ids) @ model.head_weight.T).log_softmax(-1)
    each = expected[:, :-1].gather(-1, ids[:, 1:, None])
    return float(each[:, LENGTH + 3 :].mean() - each[:, : LENGTH - 1].mean())


def attention_of_the_second_block(model: Llama, ids: torch.Tensor) -> torch.Tensor:
    """Return the (B, H, T, T) weights, computed from the block's own parts."""
    length, width, heads = ids.shape[1], SHAPE.per_head, SHAPE.heads
    seen: list[torch.Tensor] = []
    handle = model.blocks[1].attention_norm.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        model(ids)
        handle.remove()
        attention = model.blocks[1].attention
        packed = attention.query_key_value(seen[0]).view(len(ids), length, -1, width).transpose(1, 2)
        query, key, _ = packed.split([heads] * 3, dim=1)
        rotation = model.rotary(None, length)
        scores = rotate(attention.query_norm(query), *rotation) @ rotate(attention.key_norm(key), *rotation).mT
    past = torch.ones(length, length).tril().bool()
    return (scores / width**0.5).masked_fill(~past, -torch.inf).softmax(-1)


def test_what_is_seen_again_is_expected_without_any_training() -> None:
    assert nats_gained(model_with(copying=True)) > 2
    assert abs(nats_gained(model_with(copying=False))) < 0.5


def test_three_heads_look_at_what_followed_before() -> None:
    text = torch.randint(VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(2))
    weights = attention_of_the_second_block(model_with(copying=True), torch.cat([text, text], dim=1))
    again = torch.arange(LENGTH + 3, 2 * LENGTH)
    for head in range(3):
        found = weights[:, head, again].argmax(-1) == again - LENGTH + 1
        assert found.float().mean() > 0.85, head
    assert (weights[:, 3, again].argmax(-1) == again - LENGTH + 1).float().mean() < 0.3  # the last head is free


def test_embeddings_leave_the_room_free_and_keep_their_common_feature() -> None:
    model, plan = model_with(copying=True), plan_copying(SHAPE)
    assert plan is not None
    embedding = model.token_embedding.weight
    assert (embedding[:, min(plan.starts) :] == 0).all() and (embedding[:, 0] > 0).all()
    used = sum(plan.sizes)
    assert min(plan.starts) == SHAPE.width - used and used < SHAPE.width / 2
    for head, size in enumerate(plan.sizes):
        assert size * (head + 1) <= len(plan.slow)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 1},
        {"heads": 1},
        {"tied": True},
        {"query_key_norm": False},
        {"key_value_heads": 2},
        {"rotary_theta": 100.0},
        {"width": 16, "heads": 4},
        {"width": 48, "head_width": 64},
    ],
)
def test_shapes_without_room_are_refused_by_the_recipe(change: dict[str, object]) -> None:
    assert plan_copying(SHAPE.replace(**change)) is None
    fields = [f"model.{name}={str(value).lower()}" for name, value in {**SHAPE.model_dump(), **change}.items()]
    fields = [field for field in fields if not field.endswith("=none")]
    with pytest.raises(ConfigError, match="copying_heads"):
        load_settings(Recipe, None, [*fields, "warm_start.copying_heads=true", "training.steps=1"])


def test_a_refusal_names_the_field_and_where_it_was_set(tmp_path: Path) -> None:
    """As the validators of single fields do: the place, the name, the value, what is wanted."""
    with pytest.raises(
        ConfigError, match=r"^--set warm_start\.copying_heads: 'warm_start\.copying_heads' = true: needs"
    ):
        load_settings(Recipe, None, ["model.family=llama", "model.tied=true", "warm_start.copying_heads=true"])
    file = tmp_path / "r.yaml"
    file.write_text("model: {family: llama, tied: true}\nwarm_start:\n  steps: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"r\.yaml:3: 'warm_start\.steps' = 3: needs model\.family llama"):
        load_settings(Recipe, file)
