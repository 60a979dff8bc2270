"""Which module holds a family, found by the name in ``config.json``; no registry to keep in step.

A neural family has a module ``zhixing.models.<family>`` and a module ``zhixing.models.interop.<family>`` of
the same name; several names of another library may mean one family of ours.
"""

from __future__ import annotations

from typing import Any

from zhixing.errors import ModelFolderError, nearest
from zhixing.language import tr

NEURAL = {
    "gpt2": "gpt2",
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "llama",
    "qwen3": "llama",
    "recurrent": "recurrent",
    "feedforward": "feedforward",
    "convolutional": "convolutional",
    "bert": "bert",
    "roberta": "bert",
    "xlnet": "xlnet",
    "marian": "transformer",
    "recurrent_encoder_decoder": "recurrent_encoder_decoder",
    "t5": "t5",
}
"""``model_type`` in a ``config.json`` → our family."""
ENCODERS = ("bert",)
"""Neural families that read in both directions and have no next token."""
ENCODER_DECODERS = ("transformer", "recurrent_encoder_decoder", "t5")
"""Neural families that write a target after a source; as language models, a text block by block."""
UNLIMITED = ("recurrent", "feedforward", "convolutional", *ENCODER_DECODERS)
"""Neural families whose state has one size however much it has read, so that a text may be of any length."""
STATISTICAL = ("ngram", "hmm", "mixture")


def family_of(config: dict[str, Any], where: str) -> str:
    """Return the family that a ``config.json`` names.

    Raises:
        ModelFolderError: none is named, or an unknown one.
    """
    name = config.get("model_type")
    if isinstance(name, str) and name in NEURAL:
        return NEURAL[name]
    if name in STATISTICAL:
        return str(name)
    if name == "word_vectors":
        raise ModelFolderError(
            tr(
                f"{where} holds word vectors, which say nothing of the next word; see zhixing run --help",
                f"{where} 中是词向量，不能预测下一个词；参见 zhixing run --help",
            )
        )
    hint = nearest(str(name)[:80], [*NEURAL, *STATISTICAL])
    raise ModelFolderError(
        tr(
            f"{where}/config.json: model_type = {str(name)[:80]!r} is not a family known here; {hint}",
            f"{where}/config.json：不认识 model_type = {str(name)[:80]!r} 这一模型族；{hint}",
        )
    )
