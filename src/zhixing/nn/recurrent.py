"""Recurrent layers: Elman's RNN (1990), the LSTM with forget gates (Hochreiter and Schmidhuber 1997; Gers et al. 2000)
and the GRU (Cho et al. 2014).

The gates' matrices stand side by side in one packed map of the input and one of the state, in torch's order
(``GATES``), each with a bias, so that weights are exchanged with ``torch.nn.RNN``, ``LSTM`` and ``GRU`` by name alone.
As there, the GRU's reset gate multiplies the state after its matrix.

torch's kernels do the steps, but where RNN and GRU learn on a CPU: there torch adds up one weight gradient per step.
Back-propagation through time by hand computes all that does not depend on the step before (the gates' derivatives, the
weights' gradient) for all steps at once, and takes 0.7 of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from zhixing.nn.compiled import not_compiled
from zhixing.nn.linear import PackedLinear
from zhixing.nn.recurrent_step import move
from zhixing.nn.shared_matrix import SharedMatrix

Cell = Literal["rnn", "lstm", "gru"]
State = tuple[Tensor, ...]
"""(h,) or, for an LSTM, (h, memory); each (B, D)."""
GATES: dict[Cell, tuple[str, ...]] = {
    "rnn": ("state",),
    "lstm": ("input", "forget", "candidate", "output"),
    "gru": ("reset", "update", "candidate"),
}
"""Which gate each block of D rows of a packed weight belongs to."""


class RecurrentLayer(nn.Module):
    """One layer of a recurrent network, from (B, T, I) to (B, T, D)."""

    def __init__(self, cell: Cell, input_width: int, width: int) -> None:
        super().__init__()
        self.cell: Cell = cell
        self.width = width
        sections = [width] * len(GATES[cell])
        self.input = PackedLinear(input_width, sections)
        self.recurrent = PackedLinear(width, sections)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw weights: every gate's recurrent matrix orthogonal (Saxe et al. 2014), so that neither state nor gradient
        grows or shrinks at first; inputs ``1 / sqrt(I)``; biases zero, but 1 for the forget gate, which so begins by
        remembering (Gers et al. 2000; Jozefowicz et al. 2015).
        """
        nn.init.normal_(self.input.weight, std=self.input.in_features**-0.5)
        for gate in torch.split(self.recurrent.weight, self.width):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(self.input.bias)
        nn.init.zeros_(self.recurrent.bias)
        if "forget" in GATES[self.cell]:
            self.input.bias.view(-1, self.width)[GATES[self.cell].index("forget")] = 1.0

    def new_state(self, batch: int) -> State:
        """Return the state of ``batch`` rows that have read nothing: zeros."""
        like = self.recurrent.weight.detach()
        return tuple(like.new_zeros(batch, self.width) for _ in range(2 if self.cell == "lstm" else 1))

    def stepper(self) -> Callable[[Tensor, State], State]:
        """Return the step, for a loop whose inputs depend on the steps before; in float32 at least.

        It takes (B, G·D), the input's share of the gates (``self.input`` of it, which may be computed for many steps at
        once), and the state before.
        """
        by_state = SharedMatrix(exact(self.recurrent.weight).T, exact(self.recurrent.bias))

        def step(by_input: Tensor, state: State) -> State:
            state = tuple(map(exact, state))
            return move(self.cell, exact(by_input), by_state(state[0]), state)

        return step

    @not_compiled  # a compiler would unroll the loop over time
    def forward(self, x: Tensor, state: State, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Read (B, T, I) after ``state``; return the (B, T, D) states after each step, and the state at the end.

        ``lengths`` (B,): how many of the T steps of each row are real, at least 1; its end is there. None: all.
        On a CPU the steps are computed in float32 at least: lower precision is slower there, or has no kernel.
        """
        kind, weights = x.dtype, [self.input.weight, self.recurrent.weight, self.input.bias, self.recurrent.bias]
        if x.device.type == "cpu":
            if kind != torch.float64:
                x, state = x.float(), tuple(each.float() for each in state)
                weights = [weight.float() for weight in weights]
            by_hand = self.cell != "lstm" and torch.is_grad_enabled()
            with torch.autocast("cpu", enabled=False):
                outputs, end = (self._by_hand if by_hand else self._fused)(x, state, lengths, weights)
        else:
            outputs, end = self._fused(x, state, lengths, weights)
        return outputs.to(kind), tuple(each.to(kind) for each in end)

    def _by_hand(
        self, x: Tensor, state: State, lengths: Tensor | None, weights: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        of_input, of_state, input_bias, state_bias = weights
        by_input = functional.linear(x, of_input, input_bias).transpose(0, 1)  # (T, B, G·D): all steps in one product
        if self.cell == "gru":
            states: Tensor = _GRU.apply(by_input, state[0], of_state, state_bias)  # type: ignore[no-untyped-call]
        else:
            states = _RNN.apply(by_input + state_bias, state[0], of_state)  # type: ignore[no-untyped-call]
        if lengths is None:
            return states.transpose(0, 1), (states[-1],)
        rows = torch.arange(x.shape[0])  # what follows a row's end is computed too, and changes nothing before it
        return states.transpose(0, 1), (states[lengths - 1, rows],)

    def _fused(
        self, x: Tensor, state: State, lengths: Tensor | None, weights: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        kernel: Any = {"rnn": torch.rnn_tanh, "lstm": torch.lstm, "gru": torch.gru}[self.cell]
        if lengths is None:
            begin = [each[None] for each in state]
            outputs, *end = kernel(x, _one_or_two(begin), weights, True, 1, 0.0, self.training, False, True)
            return outputs, tuple(each[0] for each in end)
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        order, back = packed.sorted_indices, packed.unsorted_indices
        begin = [each[None, order] for each in state]
        data, *end = kernel(
            packed.data, packed.batch_sizes, _one_or_two(begin), weights, True, 1, 0.0, self.training, False
        )
        whole = PackedSequence(data, packed.batch_sizes, order, back)
        outputs, _ = pad_packed_sequence(whole, batch_first=True, total_length=x.shape[1])
        return outputs, tuple(each[0, back] for each in end)


def exact(x: Tensor) -> Tensor:
    """Return a tensor in float32 if it is coarser."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _one_or_two(states: list[Tensor]) -> Tensor | list[Tensor]:
    """An LSTM's kernel takes a list of two, the others' a tensor."""
    return states if len(states) == 2 else states[0]


def _before(states: Tensor, first: Tensor) -> Tensor:
    """Return the states each step started from: (T, B, D)."""
    return torch.cat([first[None], states[:-1]])


def _weight_gradient(deltas: Tensor, before: Tensor) -> Tensor:
    """Return (G·D, D): what all steps want of the recurrent weight, in one product."""
    return deltas.flatten(0, 1).T @ before.flatten(0, 1)


class _RNN(torch.autograd.Function):
    """``h_t = tanh(a_t + h_{t-1} Uᵀ)`` for (T, B, D) inputs a."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, first: Tensor, weight: Tensor) -> Tensor:
        states, state, transposed = torch.empty_like(inputs), first, weight.T
        for step, given in enumerate(inputs):
            state = torch.addmm(given, state, transposed).tanh_()
            states[step] = state
        ctx.save_for_backward(states, first, weight)
        return states

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, first, weight = ctx.saved_tensors
        slope = 1 - states.square()
        deltas, back = torch.empty_like(states), torch.zeros_like(first)
        for step in reversed(range(len(states))):
            deltas[step] = delta = (gradients[0][step] + back) * slope[step]
            back = delta @ weight
        return deltas, back, _weight_gradient(deltas, _before(states, first))


class _GRU(torch.autograd.Function):
    """The GRU's steps for (T, B, 3D) inputs of its gates, in the order r, z, n."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, first: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        steps, batch, width = *inputs.shape[:2], first.shape[-1]
        gates = torch.empty_like(inputs)
        states, scored = inputs.new_empty(2, steps, batch, width)
        state, transposed = first, weight.T
        for step, given in enumerate(inputs):
            by_state = torch.addmm(bias, state, transposed)
            scored[step] = by_state[:, 2 * width :]
            torch.add(given[:, : 2 * width], by_state[:, : 2 * width], out=gates[step, :, : 2 * width]).sigmoid_()
            r, z, n = gates[step].chunk(3, dim=-1)
            torch.addcmul(given[:, 2 * width :], r, scored[step], out=n).tanh_()
            states[step] = state = torch.lerp(n, state, z)
        ctx.save_for_backward(gates, states, scored, first, weight)
        return states

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gates, states, scored, first, weight = ctx.saved_tensors
        r, z, n = gates.chunk(3, dim=-1)
        before = _before(states, first)
        to_candidate = (1 - z) * (1 - n.square())
        to_reset, to_update = to_candidate * scored * r * (1 - r), (before - n) * z * (1 - z)
        slopes = torch.stack([to_reset, to_update, to_candidate * r], dim=2)  # (T, B, 3, D)
        deltas, reaching = torch.empty_like(slopes), torch.empty_like(states)
        back = torch.zeros_like(first)
        for step in reversed(range(len(states))):
            torch.add(gradients[0][step], back, out=reaching[step])
            torch.mul(reaching[step][:, None], slopes[step], out=deltas[step])
            back = torch.addmm(reaching[step] * z[step], deltas[step].flatten(1), weight)
        by_state = deltas.flatten(2)
        by_input = torch.cat([by_state[..., : 2 * first.shape[-1]], reaching * to_candidate], dim=-1)
        return by_input, back, _weight_gradient(by_state, before), by_state.sum(dim=(0, 1))
