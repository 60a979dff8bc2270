"""The recipe: everything that decides a run, from the text to the last checkpoint, in one typed tree."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from zhixing.config import Settings, setting
from zhixing.corpus.settings import TextSettings
from zhixing.data.settings import DataSettings
from zhixing.language import tr
from zhixing.models.bert import BertSettings
from zhixing.models.convolutional import ConvolutionalSettings
from zhixing.models.feedforward import FeedForwardSettings
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.hmm import HmmSettings
from zhixing.models.llama import LlamaSettings
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramSettings
from zhixing.models.recurrent import RecurrentSettings
from zhixing.models.recurrent_encoder_decoder import RecurrentEncoderDecoderSettings
from zhixing.models.t5 import T5Settings
from zhixing.models.transformer import TransformerSettings
from zhixing.models.word_vectors import WordVectorSettings
from zhixing.models.xlnet import XLNetSettings
from zhixing.pretraining.induction import plan_copying
from zhixing.pretraining.objectives import AutoSettings, ObjectiveSettings, resolve
from zhixing.pretraining.span_corruption import SpanSettings
from zhixing.pretraining.warm_start import WarmStartSettings
from zhixing.tokenizers.train import TokenizerSettings
from zhixing.training.settings import TrainingSettings

ModelSettings = Annotated[
    LlamaSettings
    | GPT2Settings
    | RecurrentSettings
    | FeedForwardSettings
    | ConvolutionalSettings
    | BertSettings
    | XLNetSettings
    | TransformerSettings
    | RecurrentEncoderDecoderSettings
    | T5Settings
    | NgramSettings
    | HmmSettings
    | MixtureSettings
    | WordVectorSettings,
    Field(discriminator="family"),
]


COUNTED = (NgramSettings, HmmSettings, MixtureSettings, WordVectorSettings)
"""Families without weights that a step changes: learned in one go, from no start."""


class Recipe(Settings):
    """One run: text → tokenizer → shards → model → training."""

    name: str = setting("model", "what the model is called", "模型名称", min_length=1)
    seed: int = setting(
        0, "of weights, order of the text, dropout", "权重、文本顺序与 dropout 的随机种子", ge=0, lt=2**63
    )
    text: TextSettings = TextSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    data: DataSettings = DataSettings()
    model: ModelSettings = LlamaSettings()
    objective: ObjectiveSettings = AutoSettings()
    warm_start: WarmStartSettings = WarmStartSettings()
    training: TrainingSettings = TrainingSettings(minutes=5.0)

    @model_validator(mode="after")
    def _objective_fits(self) -> Recipe:
        objective = resolve(self.objective, self.model.family)
        if objective.kind == "contrastive" and isinstance(self.model, BertSettings) and self.model.dropout == 0:
            raise ValueError(
                tr(
                    "objective.kind = contrastive makes its two views of a sentence by dropout; set model.dropout, "
                    "such as 0.1",
                    "objective.kind = contrastive 靠 dropout 得到同一句子的两个视图；请设置 model.dropout，例如 0.1",
                )
            )
        if isinstance(self.model, XLNetSettings) and self.model.attention == "uni" and objective.kind != "causal":
            raise ValueError(
                tr(
                    "model.attention = uni sees nothing to the right, so orders mean nothing to it; set "
                    "objective.kind: causal",
                    "model.attention = uni 看不到右侧，次序对它没有意义；请设 objective.kind: causal",
                )
            )
        if isinstance(objective, SpanSettings) and isinstance(self.model, T5Settings):
            objective.check_sentinels(self.model.context_length)
        return self

    @model_validator(mode="after")
    def _pairs_fit(self) -> Recipe:
        kind = resolve(self.objective, self.model.family).kind
        if self.text.pair_fields and kind != "sequence_to_sequence":
            raise ValueError(
                tr(
                    f"text.source_field and text.target_field are for objective.kind = sequence_to_sequence, not "
                    f"{kind}; model.family transformer, recurrent_encoder_decoder or t5 learns by it",
                    f"text.source_field 与 text.target_field 用于 objective.kind = sequence_to_sequence，而非 {kind}；"
                    "model.family 为 transformer、recurrent_encoder_decoder、t5 时可用",
                )
            )
        return self

    @property
    def pairs_together(self) -> int | None:
        """How many pairs of source and target are a batch; None: the text is no pairs."""
        return self.training.batch_windows if self.text.pair_fields else None

    @model_validator(mode="after")
    def _warm_start_fits(self) -> Recipe:
        llama = self.model if isinstance(self.model, LlamaSettings) else None
        if self.warm_start.copying_heads and (llama is None or plan_copying(llama) is None):
            raise ValueError(
                tr(
                    "warm_start.copying_heads needs model.family llama with tied: false, query_key_norm: true, two "
                    "layers, two heads, key_value_heads equal to heads, and a rotary_theta far above context_length "
                    "(try 1e6)",
                    "warm_start.copying_heads 需要 model.family 为 llama，tied: false，query_key_norm: true，"
                    "两层、两头以上，key_value_heads 等于 heads，且 rotary_theta 远大于 context_length（可试 1e6）",
                )
            )
        if self.warm_start.steps and (llama is None or llama.tied):
            raise ValueError(
                tr(
                    "warm_start.steps needs model.family llama with tied: false",
                    "warm_start.steps 需要 model.family 为 llama 且 tied: false",
                )
            )
        return self


def schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, for editors and for ``zhixing train --help``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


if __name__ == "__main__":
    import json
    import sys

    json.dump(schema(), sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
