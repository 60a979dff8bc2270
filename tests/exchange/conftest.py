"""Small models with opinions, saved as model folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zhixing.exchange.formats import Options
from zhixing.exchange.questions import Sample, default_texts
from zhixing.model_folder import write_folder
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.models.recurrent import RecurrentSettings
from zhixing.models.rotary_scaling import Llama3Scaling
from zhixing.models.save import companion_files, neural_files
from zhixing.models.t5 import T5Settings
from zhixing.models.transformer import TransformerSettings
from zhixing.models.xlnet import XLNetSettings
from zhixing.tokenizers.specials import MASK
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

TEXT = "def read(path):\n    return open(path).read()  # 知行合一 knowing and doing are one\n" * 20
SHAPE = {"context_length": 48, "layers": 2, "width": 32, "heads": 4}
MODELS = {
    "gpt2": GPT2Settings(**SHAPE),
    "gpt2-shallow": GPT2Settings(**{**SHAPE, "layers": 1}),
    "gpt2-inner": GPT2Settings(**SHAPE, inner_width=40, norm_epsilon=1e-6),
    "qwen3": LlamaSettings(**SHAPE, inner_width=48, key_value_heads=2),
    "llama": LlamaSettings(**SHAPE, inner_width=48, query_key_norm=False, rotary_theta=500.0),
    "llama-tied": LlamaSettings(**SHAPE, inner_width=48, key_value_heads=1, query_key_norm=False, tied=True),
    "bert": BertSettings(**SHAPE),
    "bert-bare": BertSettings(**SHAPE, head=False, pooler=True),
    "roberta": BertSettings(**SHAPE, variant="roberta", padding_id=1, segments=1),
    "llama-bias": LlamaSettings(**SHAPE, inner_width=48, query_key_norm=False, attention_bias="all"),
    "llama-3.1": LlamaSettings(
        **SHAPE,
        inner_width=48,
        query_key_norm=False,
        rotary_scaling=Llama3Scaling(factor=4.0, original_context=64),
    ),
    "mistral": LlamaSettings(**SHAPE, inner_width=48, query_key_norm=False, head_width=10, key_value_heads=2),
    "mistral-window": LlamaSettings(**SHAPE, inner_width=48, query_key_norm=False, attention_window=5),
    "qwen2": LlamaSettings(**SHAPE, inner_width=48, query_key_norm=False, attention_bias="query_key_value"),
    "t5": T5Settings(**SHAPE, inner_width=48),
    "marian": TransformerSettings(**SHAPE),
    "xlnet": XLNetSettings(**SHAPE),
    "recurrent": RecurrentSettings(context_length=48, layers=1, width=16, cell="gru"),
}


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(TokenizerSettings(vocab_size=310, min_frequency=2), [TEXT], [MASK])


@pytest.fixture
def make(tmp_path: Path, tokenizer) -> Callable[..., Path]:
    """Return a function that writes one of ``MODELS`` and returns its folder."""

    def write(name: str, tokens=tokenizer) -> Path:
        torch.manual_seed(0)
        settings = MODELS[name].replace(vocab_size=tokens.vocab_size)
        module = build_decoder(settings)
        with torch.no_grad():  # no two tokens nearly tie
            for part, weights in module.named_parameters():
                weights.normal_(1.0 if weights.ndim == 1 and part.endswith("weight") else 0.0, 0.2)
        files = neural_files(module, settings, tokens.separator_id) | companion_files(tokens)
        write_folder(tmp_path / name, files, facts={"seed": 0})
        return tmp_path / name

    return write


@pytest.fixture
def options() -> Options:
    return Options(Sample(default_texts(), greedy_tokens=6, scored_tokens=300))
