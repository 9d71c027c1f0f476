"""Exact temporal back-propagation through layers of time-to-first-spike neurons.

Everything here is in *log-time*: a spike at step ``n`` has the time ``t = n / τ_e`` with
``τ_e = -1 / ln(1 - 2**-k)``, and ``inf`` if it never comes. Weights are relative to a threshold
of 1. With ``z = exp(t)`` a neuron fires at ``z_out = Σ_C w·z / (Σ_C w - 1)``, ``C`` its causal set
(H. Mostafa, *Supervised learning based on temporal coding in spiking neural networks*,
arXiv 1606.08165), so in log-time

    ∂t_out/∂w_i = (z_i / z_out - 1) / (Σ_C w - 1)
    ∂t_out/∂t_i = w_i · z_i / (z_out · (Σ_C w - 1))      for i in C, else 0.

A neuron that stays below threshold until the horizon has no spike time. An output then counts as
``horizon + (1 - V(horizon)) / FLOOR``: later than every spike, and the further from the threshold
the later. That expression has the same two derivatives with ``z_out = exp(horizon)`` and ``FLOOR``
in place of ``Σ_C w - 1``, which is also held at no less than ``FLOOR`` where a neuron did fire, so
that a barely sufficient drive cannot make the gradient explode.

The forward pass of both layers is either the closed form, or, given a :class:`Clock`, the integer
arithmetic of ``docs/arithmetic.md`` itself with the closed form's derivatives (a straight-through
estimator for every rounding at once). A network trained on the clock has no gap left between
training and hardware.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from .firmware.crossings import crossings
from .jit import jit

__all__ = ["FLOOR", "Clock", "causal_layer", "simultaneous_layer"]

#: Least value of ``Σ_C w - 1`` in a derivative.
FLOOR = 0.3


@dataclass(frozen=True)
class Clock:
    """The integer arithmetic of one layer, as far as spike times are concerned.

    Parameters
    ----------
    k : int
        Decay shift.
    threshold : int
        θ.
    steps : int
        T.
    """

    k: int
    threshold: int
    steps: int

    @property
    def tau(self) -> float:
        """τ_e in steps."""
        return -1 / math.log1p(-(2.0**-self.k))

    @property
    def horizon(self) -> float:
        """Log-time of the end of the last step."""
        return self.steps / self.tau

    @property
    def unit(self) -> float:
        """What one integer unit of weight is worth relative to a threshold of 1."""
        return 2**self.k / self.threshold

    @cached_property
    def table(self) -> np.ndarray:
        """Spike step by integer row sum when all inputs arrive in step 0.

        Sums up to ``threshold`` (which fires in step 0) index the table; -1 means never.
        """
        # Wide enough for the threshold to be a sum.
        bits = self.threshold.bit_length() + 2
        least = crossings(self.k, self.threshold, self.steps, bits)
        sums = np.arange(self.threshold + 1)
        # A sum spikes in the first step that asks no more of it.
        table = self.steps - np.searchsorted(least[::-1], sums, side="right")
        return np.where(table < self.steps, table, -1).astype(np.int32)


def simultaneous_layer(
    inputs: torch.Tensor, weights: torch.Tensor, clock: Clock | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spike times of a layer whose inputs all arrive at time 0: a product and a curve.

    Parameters
    ----------
    inputs : (batch, inputs) float tensor of zeros and ones
    weights : (inputs, neurons) float tensor
        With a ``clock``, in integer units (and integers); without, relative to threshold 1.
    clock : Clock, optional
        Compute the times in integer arithmetic.

    Returns
    -------
    times : (batch, neurons) tensor
        Log-times, ``inf`` where a neuron never fires.
    drive : (batch, neurons) tensor
        Summed weight relative to threshold 1; differentiable, for penalties on activity.
    """
    drive = inputs @ weights
    if clock is not None:
        drive = drive * clock.unit
    return _Charge.apply(drive, clock), drive


class _Charge(torch.autograd.Function):
    """Time to threshold of a current that arrives at time 0 and decays: ``-ln(1 - 1/S)``."""

    @staticmethod
    def forward(ctx: Any, drive: torch.Tensor, clock: Clock | None) -> torch.Tensor:
        if clock is None:
            times = torch.where(drive > 1, -torch.log1p(-1 / drive), torch.inf)
        else:
            sums = (drive / clock.unit).round_().clamp_(0, clock.threshold).to(torch.int32)
            lookup = torch.from_numpy(clock.table / clock.tau).to(drive.dtype)
            lookup[lookup < 0] = torch.inf
            times = lookup.index_select(0, sums.flatten()).view_as(drive)
        ctx.save_for_backward(drive, times)
        return times

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        drive, times = ctx.saved_tensors
        slope = -1 / (drive * (drive - 1).clamp_min(FLOOR))
        return torch.where(torch.isfinite(times), gradients[0] * slope, 0), None


def causal_layer(
    times: torch.Tensor, weights: torch.Tensor, timing: Clock | float, *, silent: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spike times of a layer whose inputs arrive at any time.

    Parameters
    ----------
    times : (batch, inputs) float tensor
        Log-times of the inputs, ``inf`` for one that never spikes. With a clock, whole steps.
    weights : (inputs, neurons) float tensor
        Relative to a threshold of 1, or with a clock in integer units (and integers).
    timing : Clock or float
        A clock computes the times in integer arithmetic, a horizon (the log-time after which
        nothing fires) in closed form.
    silent : bool
        Give silent neurons the time ``horizon + (1 - V(horizon)) / FLOOR`` and its gradient, as
        the outputs need, instead of ``inf`` and none, as hidden neurons do.

    Returns
    -------
    times : (batch, neurons) tensor
        With a clock, whole steps for hidden neurons. Outputs (``silent``) get the moment inside the
        step at which the line from the membrane before to the membrane after crosses the threshold.
    drive : (batch, neurons) tensor
        Sum of the causal weights relative to a threshold of 1.
    """
    return _Causal.apply(times, weights, timing, silent)


class _Spikes(NamedTuple):
    """A batch's input spikes, those before the horizon in order of time."""

    times: np.ndarray
    """(batch, inputs)"""
    order: np.ndarray
    """(batch, inputs) int32, inputs in order of time; the first ``length`` of them are valid."""
    length: np.ndarray
    """(batch,) int32"""


class _Fired(NamedTuple):
    """What a forward pass finds out about every neuron; all (batch, neurons)."""

    times: np.ndarray
    """Time of the crossing, or what stands for it in a silent neuron."""
    steps: np.ndarray
    """Time of the whole step of the crossing; ``inf`` in a silent neuron."""
    drive: np.ndarray
    """Sum of the causal weights, in the unit of the weights."""
    causal: np.ndarray
    """int32, how many of the ordered input spikes are causal."""


class _Causal(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, times: torch.Tensor, weights: torch.Tensor, timing: Clock | float, silent: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = times.detach().contiguous().numpy()
        matrix = weights.detach().contiguous().numpy()
        shape = (inputs.shape[0], matrix.shape[1])
        dtype = inputs.dtype
        fired = _Fired(
            np.empty(shape, dtype), np.full(shape, np.inf, dtype), np.empty(shape, dtype),
            np.empty(shape, np.int32),
        )  # fmt: skip
        if isinstance(timing, Clock):
            horizon, unit = timing.horizon, timing.unit
            spikes = _Spikes(inputs, *_bucket(inputs, timing.tau, timing.steps))
            constants = timing.k, timing.threshold, timing.steps, timing.tau
            _simulate(spikes, matrix, constants, FLOOR, fired)
        else:
            horizon, unit = timing, 1.0
            spikes = _Spikes(inputs, *_sort(inputs, horizon))
            _fire(spikes, matrix, horizon, FLOOR, fired)
        ctx.kept = spikes, matrix, fired
        ctx.settings = horizon, unit, silent
        # Copies: what autograd hands on may be changed in place.
        output = (fired.times if silent else fired.steps).copy()
        return torch.from_numpy(output), torch.from_numpy(fired.drive * dtype.type(unit))

    @staticmethod
    def backward(
        ctx: Any, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        spikes, matrix, fired = ctx.kept
        horizon, unit, silent = ctx.settings
        dtype = matrix.dtype
        late = np.isinf(fired.steps)
        excess = np.where(late, FLOOR, np.maximum(fired.drive * unit - 1, FLOOR))
        constant = (gradients[0].numpy() / excess).astype(dtype)
        if not silent:
            constant[late] = 0
        linear = constant / np.exp(np.minimum(fired.times, horizon))
        constant -= gradients[1].numpy()
        grad_times = np.zeros_like(spikes.times)
        grad_weights = np.zeros_like(matrix)
        _back(spikes, matrix, fired.causal, (linear, constant), (grad_times, grad_weights))
        grad_times *= dtype.type(unit)
        grad_weights *= dtype.type(unit)
        return torch.from_numpy(grad_times), torch.from_numpy(grad_weights), None, None


@jit
def _sort(times: np.ndarray, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``order`` and ``length`` of :class:`_Spikes`, by a merge sort."""
    batch, inputs = times.shape
    order = np.empty((batch, inputs), np.int32)
    length = np.zeros(batch, np.int32)
    for b in range(batch):
        chosen = np.flatnonzero(times[b] < horizon)
        length[b] = len(chosen)
        ranks = np.argsort(times[b][chosen], kind="mergesort")
        order[b, : len(chosen)] = chosen[ranks]
    return order, length


@jit
def _bucket(times: np.ndarray, tau: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``order`` and ``length`` of :class:`_Spikes` in whole steps, by a counting sort."""
    batch, inputs = times.shape
    order = np.empty((batch, inputs), np.int32)
    length = np.zeros(batch, np.int32)
    step = np.empty(inputs, np.int32)
    start = np.empty(steps + 1, np.int32)
    horizon = times.dtype.type((steps - 0.5) / tau)
    for b in range(batch):
        start[:] = 0
        for i in range(inputs):
            step[i] = np.int32(times[b, i] * tau + 0.5) if times[b, i] < horizon else steps
            start[step[i]] += 1
        length[b] = inputs - start[steps]
        before = 0
        for n in range(steps):
            here = start[n]
            start[n] = before
            before += here
        for i in range(inputs):
            if step[i] < steps:
                order[b, start[step[i]]] = i
                start[step[i]] += 1
    return order, length


@jit
def _fire(
    spikes: _Spikes, weights: np.ndarray, horizon: float, floor: float, fired: _Fired
) -> None:
    """Closed form: sweep the spikes in order of time until every neuron has its causal set."""
    batch, neurons = fired.times.shape
    total = np.empty(neurons, weights.dtype)
    moment = np.empty(neurons, weights.dtype)
    end = math.exp(horizon)
    for b in range(batch):
        total[:] = 0
        moment[:] = 0
        causal = fired.causal[b]
        causal[:] = -1
        pending = neurons
        count = spikes.length[b]
        for p in range(count):
            i = spikes.order[b, p]
            z = math.exp(spikes.times[b, i])
            later = math.exp(spikes.times[b, spikes.order[b, p + 1]]) if p + 1 < count else end
            hits = 0
            for j in range(neurons):
                total[j] += weights[i, j]
                moment[j] += weights[i, j] * z
                hits += (causal[j] < 0) & (total[j] > 1) & (moment[j] < (total[j] - 1) * later)
            if hits == 0:
                continue
            for j in range(neurons):
                if causal[j] < 0 and total[j] > 1 and moment[j] < (total[j] - 1) * later:
                    causal[j] = p + 1
                    fired.times[b, j] = fired.steps[b, j] = math.log(moment[j] / (total[j] - 1))
                    fired.drive[b, j] = total[j]
            pending -= hits
            if pending == 0:
                break
        for j in range(neurons):
            if causal[j] < 0:
                causal[j] = count
                fired.times[b, j] = horizon + (1 - total[j] + moment[j] / end) / floor
                fired.drive[b, j] = total[j]


@jit
def _simulate(
    spikes: _Spikes,
    weights: np.ndarray,
    constants: tuple[int, int, int, float],
    floor: float,
    fired: _Fired,
) -> None:
    """Integer arithmetic, step by step; ``constants`` are a clock's k, θ, T and τ_e."""
    k, threshold, steps, tau = constants
    batch, neurons = fired.times.shape
    total = np.empty(neurons, np.int32)
    current = np.empty(neurons, np.int32)
    membrane = np.empty(neurons, np.int32)
    for b in range(batch):
        total[:] = 0
        current[:] = 0
        membrane[:] = -threshold
        causal = fired.causal[b]
        causal[:] = -1
        pending = neurons
        count = spikes.length[b]
        p = 0
        for step in range(steps):
            if p == 0 and (count == 0 or spikes.times[b, spikes.order[b, 0]] * tau > step + 0.5):
                continue  # nothing moves before the first spike
            for j in range(neurons):
                current[j] -= current[j] >> k
            while p < count and spikes.times[b, spikes.order[b, p]] * tau < step + 0.5:
                row = weights[spikes.order[b, p]]
                for j in range(neurons):
                    weight = np.int32(row[j])
                    total[j] += weight
                    current[j] += weight
                p += 1
            hits = 0
            for j in range(neurons):
                membrane[j] += current[j]
                hits += (causal[j] < 0) & (membrane[j] >= 0)
            if hits == 0:
                continue
            for j in range(neurons):
                if causal[j] < 0 and membrane[j] >= 0:
                    causal[j] = p
                    fired.times[b, j] = (step + 1 - membrane[j] / current[j]) / tau
                    fired.steps[b, j] = step / tau
                    fired.drive[b, j] = total[j]
            pending -= hits
            if pending == 0:
                break
        for j in range(neurons):
            if causal[j] < 0:
                causal[j] = count
                fired.times[b, j] = steps / tau - membrane[j] / threshold / floor
                fired.drive[b, j] = total[j]


@jit
def _back(
    spikes: _Spikes,
    weights: np.ndarray,
    causal: np.ndarray,
    slopes: tuple[np.ndarray, np.ndarray],
    gradients: tuple[np.ndarray, np.ndarray],
) -> None:
    """Add ``linear·z_i - constant`` to each causal weight and ``Σ linear·w·z_i`` to each input."""
    linear, constant = slopes
    grad_times, grad_weights = gradients
    batch, neurons = causal.shape
    for b in range(batch):
        for p in range(causal[b].max()):
            i = spikes.order[b, p]
            z = weights.dtype.type(math.exp(spikes.times[b, i]))
            total = weights.dtype.type(0)
            for j in range(neurons):
                if p < causal[b, j]:
                    grad_weights[i, j] += linear[b, j] * z - constant[b, j]
                    total += linear[b, j] * weights[i, j]
            grad_times[b, i] = total * z
