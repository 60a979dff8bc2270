"""Formulas for the page and for the terminal."""

from __future__ import annotations

import pytest

from zhixing.explain.formula_boxes import inline, typeset
from zhixing.explain.formulas import mathml, tree


@pytest.mark.parametrize(
    ("latex", "line"),
    [
        (r"\theta \leftarrow \theta - \eta g", "θ ← θ − ηg"),
        (r"x_i^2 + w_{t-1}", "xᵢ² + wₜ₋₁"),
        (r"K^\top", "Kᵀ"),
        (r"h' = f(x')", "h′ = f(x′)"),
        (r"h'_t", "hₜ′"),
        (r"\theta^{\prime}", "θ′"),
        (r"\frac{a + b}{c}", "(a + b)/c"),
        (r"\frac{1}{2} x", "(1/2)x"),
        (r"\sqrt{x}", "√x"),
        (r"\log p", "log p"),
        (r"-\infty \le x", "−∞ ≤ x"),
        (r"\pi_{\text{ref}}", "π_ref"),
        (r"\hat{y}", "ŷ"),
        (r"p(x_t \mid x_{<t})", "p(xₜ ∣ x_(<t))"),
        (r"\operatorname{softmax}(z)_i", "softmax(z)ᵢ"),
        (r"\mathbf{W} x", "Wx"),
        (r"\text{平均} = 3", "平均 = 3"),
    ],
)
def test_on_one_line(latex, line) -> None:
    assert inline(latex) == line


def test_a_fraction_is_stacked_and_the_line_is_the_bar() -> None:
    assert typeset(r"p = \frac{a}{b + c}") == ["        a", "p =  ───────", "      b + c"]


def test_a_prime_stands_beside_its_letter_in_a_tall_formula_too() -> None:
    assert typeset(r"h' = \frac{a'}{b}")[1].startswith("h′ = ") and "a′" in typeset(r"h' = \frac{a'}{b}")[0]


def test_a_sum_carries_its_limits() -> None:
    assert typeset(r"\sum_{i=1}^{N} x_i") == [" N", " ∑  xᵢ", "i=1"] or typeset(r"\sum_{i=1}^{N} x_i")[1].endswith("xᵢ")


def test_parentheses_grow_with_what_they_hold() -> None:
    rows = typeset(r"(\frac{a}{b})^2 (c)")
    assert any("⎛" in row for row in rows) and sum(row.count("⎛") for row in rows) == 1
    assert any("(c)" in row for row in rows)


def test_a_matrix_has_tall_parentheses() -> None:
    assert typeset(r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}") == ["⎛a  b⎞", "⎝c  d⎠"]
    assert typeset(r"\begin{pmatrix} a \\ b \end{pmatrix}^\top")[0].endswith("⊤")


@pytest.mark.parametrize("width", [20, 30, 40])
def test_a_long_formula_is_broken_before_a_sign(width) -> None:
    rows = typeset(r"a_1 = b_2 + c_3 + d_4 + e_5 - f_6 + g_7 - h_8 + \frac{1}{k}", width)
    assert max(map(len, rows)) <= width
    assert not any(row.rstrip().endswith(("+", "−")) for row in rows)


def test_mathml_sets_functions_apart_and_parentheses_free() -> None:
    assert '<mi>log</mi><mspace width="0.1667em" /><mi>p</mi>' in mathml(r"\log p")
    assert "<mspace" not in mathml(r"\exp(p)")
    grown = tree(r"f (\frac{a}{b})^2")
    assert not any(element.get("stretchy") == "false" for element in grown.iter())
    assert "∼" in mathml(r"x \sim p")


def test_mathml_is_escaped_and_says_its_source() -> None:
    shown = mathml(r"a < b \text{<script>}")
    assert "<script>" not in shown and "&lt;script&gt;" in shown
    assert 'aria-label="a &lt; b' in shown


def test_what_is_no_formula_is_named() -> None:
    with pytest.raises(ValueError, match="not a formula"):
        mathml(r"\frac")
