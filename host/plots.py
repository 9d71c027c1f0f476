"""Pictures: a sample's spikes and membranes, decision steps, accuracy; a build's parts and paths.

Every function that draws returns a :class:`matplotlib.figure.Figure`, and :func:`save` writes it.
:func:`firstspike.encode.plot_encoding` draws encoders. Needs matplotlib
(``pip install 'firstspike[plot]'``).
"""

import io
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .document import require_ending
from .firmware.errors import BuildError, DataError
from .firmware.files import require_writable, write_atomically
from .firmware.formats import NEVER
from .firmware.network import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .boards.board import Resources
    from .boards.timing import CriticalPath
    from .learning import Epoch
    from .sim.result import Inference
    from .sweep import Sweep

__all__ = [
    "accuracy_by_step",
    "components",
    "critical_path",
    "cycles",
    "decision_steps",
    "learning_curve",
    "raster",
    "require_savable",
    "save",
    "shares_by_step",
    "sweep",
    "to_svg",
]

_ENDINGS = (".pdf", ".png", ".svg")
_OURS, _OTHERS, _MARK = "#1f5fa8", "#9aa5b1", "#c8442b"


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BuildError(
            "pictures need matplotlib, which is not installed; pip install 'firstspike[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def raster(network: Network, sample: np.ndarray, *, title: str = "") -> "Figure":
    """Draw one sample: the spikes of every layer and the membranes of the outputs.

    Membranes are relative to the threshold, so an output spikes where its trace reaches 1. Both end
    with the decision.

    Parameters
    ----------
    network : Network
    sample : (inputs,) integers
        Spike steps.
    title : str

    Raises
    ------
    DataError
        If the sample does not suit the network.
    BuildError
        If matplotlib is missing.
    """
    from .sim.golden import infer

    inference = infer(network, np.asarray(sample)[None])
    decision, label = int(inference.step[0]), int(inference.label[0])
    populations = [("inputs", np.where(sample <= decision, sample, NEVER))]
    populations += [
        ("outputs" if layer + 1 == len(network.layers) else f"hidden {layer + 1}", spikes[0])
        for layer, spikes in enumerate(inference.spikes)
    ]
    heights = [3.0] * (len(populations) - 1) + [1.2, 2.4]
    figure = _figure(7, 0.8 * sum(heights))
    *axes, membranes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for axis, (name, spikes) in zip(axes, populations, strict=True):
        fired = np.flatnonzero(spikes != NEVER)
        axis.scatter(spikes[fired], fired, s=18, marker="|", linewidths=1.2, color=_OURS)
        axis.set(ylabel=f"{name}\n{len(fired)} of {len(spikes)}", ylim=(-0.5, len(spikes) - 0.5))
    axes[-1].set_yticks(range(0, network.outputs, max(1, network.outputs // 5)))
    trace = _membranes(network, populations[-2][1], decision)
    steps = np.arange(decision + 1)
    for output in range(network.outputs):
        if output != label:
            membranes.plot(steps, trace[:, output], color=_OTHERS, linewidth=1)
    membranes.plot(steps, trace[:, label], color=_MARK, linewidth=2, label=f"class {label}")
    membranes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    membranes.legend(loc="center left", frameon=False)
    membranes.set(xlabel="step", ylabel="membrane V / θ", xlim=(-0.5, decision + 0.5))
    figure.suptitle(title or f"decided for class {label} in step {decision}", fontsize=11)
    return figure


def _membranes(network: Network, spikes: np.ndarray, last: int) -> np.ndarray:
    """(last + 1, outputs) V / θ of the outputs, given the spikes that arrive at them."""
    from .sim.neuron import CurrentNeurons

    layer = network.layers[-1]
    population = CurrentNeurons(layer.neurons, layer.k, layer.threshold, layer.membrane_bits)
    trace = np.empty((last + 1, layer.neurons))
    for step in range(last + 1):
        population.step(layer.weights[spikes == step].sum(axis=0, dtype=np.int64))
        trace[step] = population.membrane / layer.threshold + 1
    return trace


def decision_steps(inference: "Inference") -> "Figure":
    """Draw how many samples are decided in each step.

    Raises
    ------
    DataError
        If there are no samples.
    BuildError
        If matplotlib is missing.
    """
    if not len(inference):
        raise DataError("there are no samples to draw")
    figure = _figure(6, 3.2)
    axis = figure.subplots()
    counts = np.bincount(inference.step)
    axis.bar(np.arange(len(counts)), counts, width=1.0, color=_OURS, edgecolor="white")
    _mark(axis, {"mean": inference.step.mean(), "median": np.median(inference.step)}, ".4g")
    axis.set(xlabel="decision step", ylabel="samples", xlim=(-0.7, len(counts) - 0.3))
    return figure


def _mark(axis: "Axes", values: Mapping[str, float], form: str) -> None:
    """Mark two values of a histogram by name, the first with a whole line."""
    for (name, value), style in zip(values.items(), ("-", "--"), strict=True):
        axis.axvline(value, color=_MARK, linestyle=style, label=f"{name} {value:{form}}")
    axis.legend(frameon=False)


def accuracy_by_step(inference: "Inference", labels: np.ndarray) -> "Figure":
    """Draw the share of samples that are decided, and decided correctly, by each step.

    Parameters
    ----------
    inference : Inference
    labels : (batch,) integers

    Raises
    ------
    DataError
        If there are no samples, or not as many labels.
    BuildError
        If matplotlib is missing.
    """
    decided, correct = shares_by_step(inference, labels)
    # The last value twice, so that its step has a width.
    decided, correct = (np.append(shares, shares[-1]) for shares in (decided, correct))
    figure = _figure(6, 3.2)
    axis = figure.subplots()
    steps = np.arange(len(decided))
    axis.step(steps, 100 * decided, where="post", color=_OTHERS, label="decided")
    axis.step(steps, 100 * correct, where="post", color=_OURS, label="decided correctly")
    axis.axhline(100 * correct[-1], color=_MARK, linewidth=0.8, linestyle=":")
    axis.annotate(
        f"{100 * correct[-1]:.2f} %",
        (0, 100 * correct[-1]),
        xytext=(4, -12),
        textcoords="offset points",
        color=_MARK,
    )
    axis.legend(frameon=False, loc="center left")
    axis.set(xlabel="step", ylabel="samples in %", ylim=(0, 104), xlim=(0, len(steps) - 1))
    return figure


def shares_by_step(inference: "Inference", labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the samples that are decided, and decided correctly, by the end of each step.

    Returns
    -------
    decided, correct : (steps,) float64
        Up to the last step in which anything is decided.

    Raises
    ------
    DataError
        If there are no samples, or not as many labels.
    """
    labels = np.asarray(labels)
    if not len(inference) or labels.shape != inference.label.shape:
        raise DataError(
            f"there are {len(inference)} samples and labels of shape {labels.shape}, but at least "
            "one sample and a label for each are needed"
        )
    right = inference.label == labels
    length = int(inference.step.max()) + 1
    decided = np.bincount(inference.step, minlength=length).cumsum()
    correct = np.bincount(inference.step[right], minlength=length).cumsum()
    return decided / len(inference), correct / len(inference)


def components(parts: "Mapping[str, Resources]", available: "Resources") -> "Figure":
    """Draw what share of a part's LUTs, flip-flops and memories each component takes.

    Parameters
    ----------
    parts : mapping
        What each component takes.
    available : Resources
        What the part has.

    Raises
    ------
    BuildError
        If matplotlib is missing.
    """
    kinds = {"LUT": "luts", "FF": "ffs", "block RAM": "block_rams", "large RAM": "large_rams"}
    kinds = {name: kind for name, kind in kinds.items() if getattr(available, kind)}
    names = list(parts)
    figure = _figure(8, 1.2 + 0.22 * len(names))
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axis, (name, kind) in zip(axes, kinds.items(), strict=True):
        shares = [100 * getattr(parts[part], kind) / getattr(available, kind) for part in names]
        axis.barh(names, shares, color=_OURS)
        axis.set(xlabel=f"{name} in %", xlim=(min(0, *shares), max(1.0, *shares) * 1.05))
    axes[0].invert_yaxis()
    return figure


def critical_path(path: "CriticalPath") -> "Figure":
    """Draw where the time of a path goes: cells and wires of each component that it crosses.

    Raises
    ------
    BuildError
        If matplotlib is missing.
    """
    parts = path.by_component()
    figure = _figure(8, 1.2 + 0.3 * len(parts))
    axis = figure.subplots()
    start = 0.0
    for row, (_, logic, wires) in enumerate(parts):
        axis.barh(row, logic, left=start, color=_OURS, label="" if row else "cells")
        axis.barh(row, wires, left=start + logic, color=_OTHERS, label="" if row else "wires")
        start += logic + wires
    axis.set_yticks(range(len(parts)), [name for name, _, _ in parts])
    axis.invert_yaxis()
    axis.legend(frameon=False)
    axis.set(xlabel="ns", xlim=(0, start))
    return figure


def cycles(counts: np.ndarray) -> "Figure":
    """Draw how many samples take how many clock cycles.

    Parameters
    ----------
    counts : (batch,) integers

    Raises
    ------
    DataError
        If there are no samples.
    BuildError
        If matplotlib is missing.
    """
    if not len(counts):
        raise DataError("there are no samples to draw")
    figure = _figure(6, 3.2)
    axis = figure.subplots()
    axis.hist(counts, bins=min(60, int(np.ptp(counts)) + 1), color=_OURS, edgecolor="white")
    _mark(axis, {"mean": counts.mean(), "99 %": np.percentile(counts, 99)}, ".1f")
    axis.set(xlabel="clock cycles", ylabel="samples")
    return figure


def learning_curve(history: "Sequence[Epoch]", *, test: float | None = None) -> "Figure":
    """Draw accuracy and rates over the samples that were learned.

    Parameters
    ----------
    history : sequence of Epoch
    test : float, optional
        Share of test samples that the network classifies correctly in the end.

    Raises
    ------
    DataError
        If there is no epoch.
    BuildError
        If matplotlib is missing.
    """
    if not history:
        raise DataError("there is no epoch to draw")
    figure = _figure(7, 4.2)
    axis, rates = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    learned = [epoch.learned for epoch in history]
    curves: list[tuple[str, str, list[float | None]]] = [
        ("while learning", _OTHERS, [epoch.accuracy for epoch in history]),
        ("validation", _OURS, [epoch.validation for epoch in history]),
    ]
    for label, color, shares in curves:
        known = [(x, 100 * y) for x, y in zip(learned, shares, strict=True) if y is not None]
        if known:
            x, y = zip(*known, strict=True)
            axis.plot(x, y, marker="o", markersize=3, color=color, label=label)
    if test is not None:
        axis.axhline(100 * test, color=_MARK, linestyle=":", label=f"test {100 * test:.2f} %")
    axis.set(ylabel="accuracy in %", ylim=(None, 100.5))
    axis.legend(frameon=False, loc="lower right")
    layers = len(history[0].rates)
    for layer, style in zip(range(layers), itertools.cycle(("-", "--", ":"))):
        rates.plot(
            learned, [epoch.rates[layer] for epoch in history], style, color=_OURS,
            label=f"layer {layer}",
        )  # fmt: skip
    rates.set(xlabel="samples learned", ylabel="rate", ylim=(0, None), xlim=(0, None))
    rates.legend(frameon=False, loc="upper right")
    return figure


def sweep(points: "Sweep") -> "Figure":
    """Draw area, clock and latency against lanes, a line for each width of the weights.

    What there is no build of is crossed.

    Raises
    ------
    BuildError
        If matplotlib is missing.
    """
    figure = _figure(10, 3.6)
    axes = figure.subplots(1, 3)
    lanes = sorted({outcome.point.lanes for outcome in points.outcomes})
    widths = sorted({outcome.point.bits for outcome in points.outcomes}, reverse=True)
    for bits, color in zip(widths, itertools.cycle((_OURS, _MARK, _OTHERS, "black"))):
        all_of_them = [outcome for outcome in points.outcomes if outcome.point.bits == bits]
        all_of_them.sort(key=lambda outcome: outcome.point.lanes)
        there = [outcome for outcome in all_of_them if not outcome.error]
        label = f"{bits} bits"
        if there:
            label += f", {100 * there[0].accuracy:.2f} %"
        x = [outcome.point.lanes for outcome in there]
        for axis, y in (
            (axes[0], [outcome.used["luts"] / 1000 for outcome in there]),
            (axes[1], [outcome.fmax_hz / 1e6 for outcome in there]),
            (axes[2], [outcome.latency_us for outcome in there]),
        ):
            axis.plot(x, y, marker="o", markersize=4, color=color, label=label)
            missing = [outcome.point.lanes for outcome in all_of_them if outcome.error]
            axis.plot(missing, [0.03] * len(missing), "x", color=color,
                      transform=axis.get_xaxis_transform())  # fmt: skip
    for axis, label in zip(axes, ("LUT in thousands", "Fmax in MHz", "latency in µs"), strict=True):
        axis.set_xscale("log")
        axis.set_xticks(lanes, [str(count) for count in lanes], minor=False)
        axis.set_xticks([], minor=True)
        axis.set(xlabel="lanes", ylabel=label)
    for axis in axes[:2]:
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
    # Nothing has no logarithm.
    if any(not outcome.error for outcome in points.outcomes):
        axes[2].set_yscale("log")
    axes[2].yaxis.set_major_formatter("{x:g}")
    axes[2].yaxis.set_minor_formatter("{x:g}")
    axes[0].legend(frameon=False)
    return figure


def require_savable(path: str | os.PathLike[str]) -> None:
    """Refuse a picture that could not be drawn or written, before long work for it begins.

    Raises
    ------
    BuildError
        If matplotlib is missing.
    DataError, FirstspikeError
        As :func:`save` does.
    """
    _figure(1, 1)
    require_ending(path, _ENDINGS, "a picture")
    require_writable(path)


def save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, SVG or PDF, whichever ``path`` ends in; whole or not at all.

    Raises
    ------
    DataError
        If ``path`` ends in something else.
    FirstspikeError
        If the file cannot be written.
    """
    kind = require_ending(path, _ENDINGS, "a picture")
    with write_atomically(path) as file:
        file.write(_render(figure, kind[1:]))


def to_svg(figure: "Figure") -> str:
    """The figure as an SVG element, to be put in a page."""
    text = _render(figure, "svg").decode()
    return text[text.index("<svg") :]


def _render(figure: "Figure", kind: str) -> bytes:
    """The bytes of a picture, the same for the same figure."""
    import matplotlib

    buffer = io.BytesIO()
    dated = {"pdf": "CreationDate", "svg": "Date"}
    metadata = {dated[kind]: None} if kind in dated else None
    with matplotlib.rc_context({"svg.hashsalt": "firstspike"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()
