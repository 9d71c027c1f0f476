"""Reports: what a network does, beside what was published, as text, JSON and one HTML page."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .document import Document, html_figure, html_list, html_page, html_table, text_table
from .firmware.network import Network

if TYPE_CHECKING:
    from .sim.result import Inference, Summary

__all__ = ["PUBLISHED", "Published", "Report"]


@dataclass(frozen=True)
class Published:
    """Figures of a published system, in the units of :class:`~firstspike.sim.result.Summary`."""

    source: str
    accuracy: float
    mean_step: float
    median_step: float
    hidden_spikes: float
    total_spikes: float
    lookups_percent: tuple[float, ...]


#: The FPGA prototype that this project is measured against.
PUBLISHED = Published(
    source="H. Mostafa, B. Pedroni, S. Sheik, G. Cauwenberghs, Fast classification using sparsely "
    "active spiking networks, ISCAS 2017: FPGA prototype, 784-600-10, 8-bit weights, MNIST",
    accuracy=0.97,
    mean_step=167,
    median_step=162,
    hidden_spikes=30,
    total_spikes=139,
    lookups_percent=(13, 5),
)

_COUNTING = "Spikes and look-ups count up to the decision; steps count from 0."


@dataclass(frozen=True, eq=False)
class Report(Document):
    """What a network did with a batch of samples.

    Parameters
    ----------
    network : Network
    inference : Inference
        What a model of the network made of the samples.
    labels : (batch,) integers
        The true classes.
    dataset : str
        What the samples are, such as ``mnist test``.
    model : str
        What made the inference.
    example : (inputs,) integers, optional
        A sample whose spikes the HTML page shows.
    checks : sequence of str
        Sentences on what was verified besides.

    Raises
    ------
    DataError
        If inference and labels do not suit each other or the network.
    """

    network: Network
    inference: "Inference"
    labels: np.ndarray
    dataset: str
    model: str = "golden model"
    example: np.ndarray | None = None
    checks: Sequence[str] = ()

    def __post_init__(self) -> None:
        _ = self.summary

    @cached_property
    def summary(self) -> "Summary":
        """The figures of the batch."""
        from .sim.result import summarise

        return summarise(self.inference, self.labels, self.network)

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        name = self.network.meta.get("name", "network")
        return f"{name} on {self.dataset}, {self.model}"

    def rows(self) -> list[tuple[str, str, str]]:
        """The table: what, here, published (empty where nothing was)."""
        ours = self.summary
        rows = [
            ("samples", f"{ours.samples}", ""),
            ("accuracy", f"{100 * (ours.accuracy or 0):.2f} %", f"{100 * PUBLISHED.accuracy:g} %"),
            ("decision step, mean", f"{ours.mean_step:.2f}", f"{PUBLISHED.mean_step:g}"),
            ("decision step, median", f"{ours.median_step:g}", f"{PUBLISHED.median_step:g}"),
            ("decision step, 99 %", f"{ours.p99_step:g}", ""),
            ("input spikes", f"{ours.input_spikes:.1f}", ""),
            ("hidden spikes", f"{ours.hidden_spikes:.1f}", f"{PUBLISHED.hidden_spikes:g}"),
            ("spikes in all", f"{ours.total_spikes:.1f}", f"{PUBLISHED.total_spikes:g}"),
        ]
        published: list[float | None] = [None] * len(ours.lookups_percent)
        if len(published) == len(PUBLISHED.lookups_percent):
            published = list(PUBLISHED.lookups_percent)
        for layer, (percent, reference) in enumerate(
            zip(ours.lookups_percent, published, strict=True)
        ):
            shown = "" if reference is None else f"{reference:g} %"
            rows.append((f"weights looked up, layer {layer}", f"{percent:.2f} %", shown))
        rows += [
            ("ties", f"{100 * ours.tie_rate:.2f} %", ""),
            ("no output spike", f"{100 * ours.no_spike_rate:.2f} %", ""),
        ]
        return rows

    def table(self) -> list[tuple[str, str, str]]:
        """The rows below a head, without holes."""
        rows = [(what, here, there or "–") for what, here, there in self.rows()]
        return [("", "here", "2017, MNIST"), *rows]

    def to_text(self) -> str:
        lines = [
            self.title,
            str(self.network),
            "",
            *text_table(self.table()),
            "",
            f"2017: {PUBLISHED.source}.",
            _COUNTING,
        ]
        if self.checks:
            lines += ["", *self.checks]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        from . import __version__
        from .plots import shares_by_step

        decided, correct = shares_by_step(self.inference, self.labels)
        layers = self.network.layers
        return {
            "firstspike": __version__,
            "network": {
                "shape": list(self.network.shape),
                "steps": self.network.steps,
                "weight_bits": [layer.weight_bits for layer in layers],
                "k": [layer.k for layer in layers],
                "threshold": [layer.threshold for layer in layers],
                "meta": dict(self.network.meta),
            },
            "dataset": self.dataset,
            "model": self.model,
            "summary": asdict(self.summary),
            "published": asdict(PUBLISHED),
            "by_step": {"decided": decided.tolist(), "correct": correct.tolist()},
            "checks": list(self.checks),
        }

    def to_html(self) -> str:
        from . import plots

        parts = [
            html_table(self.table()),
            f"<p class=small>2017: {html.escape(PUBLISHED.source)}. {_COUNTING}</p>",
        ]
        if self.checks:
            parts += ["<h2>Verified</h2>", html_list(self.checks)]
        parts += [
            html_figure("Decision steps", plots.decision_steps(self.inference)),
            html_figure(
                "Decided by each step", plots.accuracy_by_step(self.inference, self.labels)
            ),
        ]
        if self.example is not None:
            raster = plots.raster(self.network, self.example)
            parts.append(html_figure("Spikes of one sample", raster))
        return html_page(self.title, str(self.network), parts)
