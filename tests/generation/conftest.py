"""Two real small models and a tokenizer whose tokens cut characters in the middle."""

import numpy as np
import pytest

from zhixing.errors import ContextLengthError
from zhixing.models.ngram import NgramModel

TEXT = "the cat sat on the mat. 猫坐在垫子上。the dog sat on the log. 狗坐在木头上。🙂🙃 naïve café\n" * 3
SPECIALS = ("<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>")


class PieceTokenizer:
    """All bytes, some longer pieces by greedy longest match, and special tokens after them."""

    kind = "bpe"
    fingerprint = "pieces"

    def __init__(self):
        pieces = ["the ", " on", "sat", "at", "\nUser", "坐在", "上。"]
        halves = ["猫".encode()[1:], "🙂".encode()[:2], "🙂".encode()[2:]]
        self._bytes = [bytes([b]) for b in range(256)] + [p.encode() for p in pieces] + halves
        self._ids = {piece: token_id for token_id, piece in enumerate(self._bytes)}
        self.separator_id = len(self._bytes)
        self.vocab_size = len(self._bytes) + len(SPECIALS)
        self.special_ids = frozenset(range(len(self._bytes), self.vocab_size))

    def encode(self, text):
        data, at, ids = text.encode(), 0, []
        while at < len(data):
            size = next(n for n in range(9, 0, -1) if data[at : at + n] in self._ids)
            ids.append(self._ids[data[at : at + size]])
            at += len(self._bytes[ids[-1]])
        return ids

    def encode_batch(self, texts):
        return [np.array(self.encode(text), dtype=np.int64) for text in texts]

    def decode(self, ids):
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id):
        return self._bytes[token_id] if token_id < len(self._bytes) else b""

    def special_id(self, token):
        return self.separator_id + SPECIALS.index(token) if token in SPECIALS else None

    def save(self, folder):
        raise NotImplementedError


class RecurrentModel:
    """A random Elman network in float32 NumPy; its sums round differently with the number of rows."""

    family = "elman"

    def __init__(self, vocab_size, context_length=None, width=24, seed=0):
        random = np.random.default_rng(seed)
        self.vocab_size, self.context_length = vocab_size, context_length
        self.calls, self.rows_read = 0, 0
        self._embedding, self._recurrent, self._output = (
            random.normal(0, scale, shape).astype(np.float32)
            for scale, shape in ((1, (vocab_size, width)), (0.3, (width, width)), (0.6, (width, vocab_size)))
        )

    def initial_state(self, batch):
        return np.zeros((batch, self._recurrent.shape[0]), np.float32), np.zeros(batch, np.int64)

    def next_log_probs(self, ids, state, lengths=None):
        hidden, used = state
        lengths = np.full(len(ids), ids.shape[1]) if lengths is None else lengths
        used = used + lengths
        if self.context_length is not None and used.max() > self.context_length:
            raise ContextLengthError(int(used.max()), self.context_length)
        self.calls, self.rows_read = self.calls + 1, self.rows_read + len(ids)
        for t in range(ids.shape[1]):
            new = np.tanh(self._embedding[ids[:, t]] + hidden @ self._recurrent)
            hidden = np.where((t < lengths)[:, None], new, hidden)
        logits = hidden @ self._output
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), (hidden, used)

    def score(self, ids, lengths=None):
        raise NotImplementedError

    def keep_rows(self, state, rows):
        return tuple(part[list(rows)] for part in state)

    def join_states(self, states):
        return tuple(np.concatenate(parts) for parts in zip(*states, strict=True))


@pytest.fixture(scope="session")
def tokenizer():
    return PieceTokenizer()


@pytest.fixture(scope="session")
def ngram(tokenizer):
    ids = np.array([tokenizer.separator_id, *tokenizer.encode(TEXT), tokenizer.separator_id])
    return NgramModel.fit([ids], tokenizer.vocab_size, tokenizer.separator_id, order=3)


@pytest.fixture
def recurrent(tokenizer):
    return RecurrentModel(tokenizer.vocab_size, context_length=60)


@pytest.fixture(scope="session")
def llama(tokenizer):
    """A random Llama with weights large enough to have opinions."""
    torch = pytest.importorskip("torch")
    from zhixing.models.decoders import build_decoder
    from zhixing.models.llama import LlamaSettings
    from zhixing.models.neural import NeuralLanguageModel

    torch.manual_seed(0)
    shape = {"layers": 2, "width": 32, "heads": 4, "key_value_heads": 2, "inner_width": 64}
    module = build_decoder(LlamaSettings(vocab_size=tokenizer.vocab_size, context_length=64, **shape))
    with torch.no_grad():
        for weights in module.parameters():
            if weights.ndim == 2:
                weights.normal_(0.0, 0.3)
    return NeuralLanguageModel(module)


@pytest.fixture(params=["ngram", "recurrent", "llama"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def make_recurrent():
    return RecurrentModel
