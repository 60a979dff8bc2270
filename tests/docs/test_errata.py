"""The errata state what ``zhixing.theory`` computes: every number, in both languages, and nothing besides.

What an article printed is computed as well where its formula can be followed; the three numerical examples are quoted.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from zhixing.theory import attention, losses, measures, networks, optimizers, recurrent

PAGES = [Path(__file__).parents[2] / "docs" / "theory" / f"errata{language}.md" for language in ("", ".zh")]
EYE = np.eye(2)


def log_odds(probability):
    return np.log(probability) - np.log1p(-probability)


def rows(page: Path) -> dict[str, list[list[str]]]:
    """Return the table rows under each heading ``### A1`` and of each ``| R1 |``, without headers."""
    found: dict[str, list[list[str]]] = {}
    entry = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#+ (?:([A-E]\d+) ·)?", line):
            entry = heading[1] or ""
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if right := re.match(r"\| (R\d+) \|", line):
            found[right[1]] = [cells]
        elif entry and len(cells) == 3 and cells[0] not in ("---", "quantity", "量"):
            found.setdefault(entry, []).append(cells)
    return found


def code(cell: str) -> str:
    found = re.findall(r"`([^`]+)`", cell)
    return found[0] if found else ""


def vector(*values, digits: int = 4) -> str:
    return "[" + ", ".join(f"{round(float(v), digits) + 0.0:g}" for v in np.ravel(values)) + "]"


def neuron():
    z = networks.affine(np.array([[1.0, 2.0]]), np.array([[0.5], [-1.0]]), np.array([0.5])).item()
    return [(f"{z:.1f}", f"{networks.sigmoid(np.array(z)):.4f}")]


def weight_gradient():
    x, upstream = np.array([[1.0, 2.0]]), np.array([[10.0]])
    correct = networks.affine_gradient(x, np.zeros((2, 1)), upstream)[1]
    dx_dw = 0.0  # the input does not depend on the weight behind it
    printed = upstream[0] * np.ones(2) * dx_dw
    return [(vector(printed), vector(correct))]


def backward_code():
    x, upstream = np.ones((1, 2)), np.ones((1, 3))
    printed, correct = upstream * np.ones((1, 3)).T, networks.affine_gradient(x, np.ones((2, 3)), upstream)[1]
    one = np.ones((1, 1))
    chain = [(one, np.zeros(1)), (2 * one, np.zeros(1))]
    z = networks.network_forward(one, chain, networks.sigmoid)[-1]
    slope = networks.sigmoid_derivative(z)
    _, gradients = networks.network_backward(one, chain, networks.sigmoid, networks.sigmoid_derivative, slope)
    every_layer = f"{(slope * networks.sigmoid(z)).item():.4f}"
    return [
        (str(printed.shape), str(correct.shape)),
        (every_layer, f"{gradients[1][0].item():.4f}"),
        (every_layer, f"{gradients[0][0].item():.4f}"),
    ]


def recurrence():
    one, none, zero = np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1)
    found = []
    for tokens in ((1.0, 0.0), (0.0, 1.0)):
        text = np.array(tokens)[:, None, None]
        weights = [recurrent.Weights(one, u, zero, zero) for u in (none, one)]
        found.append(tuple(f"{recurrent.rnn(text, none, w)[-1].item():.4f}" for w in weights))
    alone = networks.tanh(networks.affine(np.zeros((5, 8)), np.eye(8), np.zeros(8)))
    return [*found, ("", str(alone.shape))]


def attention_code():
    found = []
    for second in ((0.0, 1.0), (1.0, 1.0)):
        x = np.array([(1.0, 0.0), second])
        printed, correct = networks.softmax(x @ EYE), networks.softmax(attention.scores(x, x))
        found.append((f"{printed[0, 1]:.4f}", f"{correct[0, 1]:.4f}"))
    return found


LABELS, PREDICTED = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.7, 0.2, 0.8, 0.1])


def positives_only(predicted):
    """The article's formula: the mean of the positives' binary cross-entropy, times their number."""
    positive = LABELS == 1.0
    return positive.sum() * losses.binary_cross_entropy(log_odds(predicted[positive]), LABELS[positive])


def labels_of_zero_and_one():
    yes = np.full(4, 0.99)
    return [(f"{positives_only(yes):.4f}", f"{losses.binary_cross_entropy(log_odds(yes), LABELS):.4f}")]


def cross_entropy_example():
    formula, mean = positives_only(PREDICTED), losses.binary_cross_entropy(log_odds(PREDICTED), LABELS)
    return [
        ("0.818", f"{formula:.3f}"),
        ("", f"{formula / np.log(2):.3f}"),
        ("", f"{4 * mean:.3f}"),
        ("", f"{mean:.3f}"),
    ]


WEIGHT, GRADIENT, RATE, BETAS = np.array([1.0, 2.0]), np.array([-0.5, -1.0]), 0.01, (0.9, 0.99)


def adam_step():
    return optimizers.adam(WEIGHT, GRADIENT, (np.zeros(2), np.zeros(2)), 1, RATE, BETAS)


def misprinted_adam(first, second):
    return WEIGHT - RATE / (np.sqrt(1 - BETAS[1]) * (1 - BETAS[0])) * first / second


def adam_formula():
    correct, moments = adam_step()
    return [(vector(misprinted_adam(*moments)), vector(correct))]


def adam_example():
    correct, (first, second) = adam_step()
    from_printed = misprinted_adam(np.array([-0.5, -1.5]), np.array([0.25, 1.0]))
    return [
        ("[-0.5, -1.5]", vector(first)),
        ("[0.25, 1]", vector(second)),
        ("[0.74, 1.74]", vector(correct)),
        ("[0.74, 1.74]", vector(from_printed)),
    ]


def attention_example():
    query, key, value = np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1]), np.array([1.0, 0, -1, 0])
    scaled = networks.softmax(query * key / np.sqrt(3))
    tokens = attention.attention(query[:, None], key[:, None], value[:, None])
    whole = attention.attention(query[None], key[None], value[None])
    weights, output = "[0.5, 0, 0.5, 0]", "[0.5, 0, -0.5, 0]"
    return [
        (weights, vector(networks.softmax(query * key))),
        (weights, vector(scaled)),
        (output, f"{scaled @ value:.4f}"),
        (output, vector(tokens)),
        (output, vector(whole)),
    ]


def values_do_not_weigh():
    weights = networks.softmax(attention.scores(EYE, EYE))[0]
    for value in (EYE, 10 * EYE):  # the output grows tenfold by the same weights
        np.testing.assert_allclose(attention.attention(EYE, EYE, value)[0], weights @ value)
    return [("", vector(weights))]


def perplexity():
    log_probs = np.log([0.5, 0.125])
    return [(f"{np.exp(log_probs.mean()):g}", f"{measures.perplexity(log_probs):.1f}")]


def masked_words():
    ids, masked = np.array([[0, 1]]), np.ones((1, 2), dtype=bool)
    others_seen, both_hidden = np.array([[[0.0, -np.inf], [-np.inf, 0.0]]]), np.zeros((1, 2, 2))
    return [tuple(f"{abs(2 * losses.masked_lm_loss(x, ids, masked)):.4f}" for x in (others_seen, both_hidden))]


def copying_model():
    ids = np.array([[0, 1, 2]])
    logits = 5.0 * losses.one_hot(ids, 3)
    correct = losses.causal_lm_loss(logits, ids, np.ones((1, 3), dtype=bool))
    return [(f"{losses.cross_entropy(logits[0], ids[0]):.4f}", f"{correct:.4f}")]


def values_not_weights():
    query, key, value = np.zeros((1, 2)), np.ones((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])
    return [
        (vector(networks.softmax(attention.scores(query, key)) @ EYE), vector(attention.attention(query, key, value)))
    ]


TOKENS = np.array([[2.0, 0.0], [0.0, 2.0]])


def heads(weight):
    return attention.multi_head_attention(TOKENS, TOKENS, attention.Projections(weight, weight, weight, EYE), heads=2)


def heads_index():
    one_and_the_same = np.repeat(EYE[:, :1], 2, axis=1)
    return [(str(np.linalg.matrix_rank(heads(one_and_the_same))), str(np.linalg.matrix_rank(heads(EYE))))]


def scale_outside():
    query, keys = np.array([[2.0, 0, 0, 0]]), np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    printed = networks.softmax((query @ keys.T)[0]) / np.sqrt(4)
    correct = networks.softmax(attention.scores(query, keys)[0])
    return [(vector(printed), vector(correct)), (f"{printed.sum():.1f}", f"{correct.sum():.1f}")]


def half_precision():
    smallest = float(np.finfo(np.float16).min)
    assert smallest > -1e9
    return [("-1e9", f"{smallest:.0f}")]


WRONG = {
    "A1": neuron,
    "A2": weight_gradient,
    "A3": backward_code,
    "A4": recurrence,
    "A5": attention_code,
    "A6": labels_of_zero_and_one,
    "A7": cross_entropy_example,
    "A8": adam_formula,
    "A9": adam_example,
    "A10": attention_example,
    "B1": values_do_not_weigh,
    "B2": perplexity,
    "C1": masked_words,
    "D1": copying_model,
    "D2": values_not_weights,
    "E1": heads_index,
    "E2": scale_outside,
    "E3": half_precision,
}


def second_average():
    parameter, state = adam_step()
    return vector(optimizers.adam(parameter, GRADIENT, state, 2, RATE, BETAS)[1][0])


def gpt3_parameters(layers=96, width=12288, vocabulary=50257, positions=2048):
    """Weights and biases of a block as ``transformer.Gpt2Block`` lists them, the tables, and the last norm."""
    matrices = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    block = sum(inputs * outputs + outputs for inputs, outputs in matrices) + 2 * 2 * width
    return layers * block + (vocabulary + positions) * width + 2 * width


RIGHT = {
    "R1": lambda: neuron()[0][0],
    "R2": lambda: f"{optimizers.sgd(np.array([1.0]), np.array([0.5]), rate=0.1).item():g}",
    "R3": lambda: f"{losses.squared_error(PREDICTED, LABELS):g}",
    "R4": lambda: vector(optimizers.sgd(WEIGHT, GRADIENT, RATE)),
    "R5": second_average,
    "R6": lambda: vector(GRADIENT**2),
    "R7": lambda: values_not_weights()[0][1],
    "R8": lambda: vector(heads(EYE)[0]),
    "R9": lambda: f"{2 * np.log(measures.perplexity(np.log([0.5, 0.125]))):.4f}",
    "R10": lambda: str(gpt3_parameters()),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_entry_is_computed(page):
    assert sorted(rows(page)) == sorted({**WRONG, **RIGHT})


@pytest.mark.parametrize("entry", WRONG)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_printed_and_correct(page, entry):
    stated = [(code(printed), code(correct)) for _, printed, correct in rows(page)[entry]]
    assert stated == WRONG[entry]()


@pytest.mark.parametrize("entry", RIGHT)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_right(page, entry):
    (cells,) = rows(page)[entry]
    assert code(cells[-1]) == RIGHT[entry]()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fault_names_a_topic_that_shows_it(page):
    from zhixing.explain.topics import topics

    text = page.read_text(encoding="utf-8")
    faults = re.split(r"^### ", text.split("\n## What is right")[0].split("\n## 无误之处")[0], flags=re.MULTILINE)[1:]
    named = [re.findall(r"`zhixing explain ([\w-]+)`", fault) for fault in faults]
    assert len(faults) == len(WRONG) and all(named)
    assert {topic for found in named for topic in found} <= set(topics())


def test_gpt3s_size_is_the_blocks():
    """The count is that of the arrays a block is made of, at a size that can be made."""
    from zhixing.theory.transformer import Gpt2Block

    width = 4
    pair = (np.zeros(width), np.zeros(width))
    block = Gpt2Block(
        attention_norm=pair,
        query_key_value=(np.zeros((width, 3 * width)), np.zeros(3 * width)),
        output=(np.zeros((width, width)), np.zeros(width)),
        feed_forward_norm=pair,
        up=(np.zeros((width, 4 * width)), np.zeros(4 * width)),
        down=(np.zeros((4 * width, width)), np.zeros(width)),
    )
    rest = gpt3_parameters(layers=0, width=width)
    assert gpt3_parameters(layers=1, width=width) - rest == sum(array.size for part in block for array in part)
