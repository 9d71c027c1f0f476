"""Reports: what a network does, beside what was published, as text, JSON and one HTML page."""

import html
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .firmware.errors import DataError
from .firmware.files import write_atomically
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


@dataclass(frozen=True, eq=False)
class Report:
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

    def to_text(self) -> str:
        """The report for a terminal."""
        rows = [(what, here, there or "–") for what, here, there in self.rows()]
        table = [("", "here", "2017, MNIST"), *rows]
        left, middle, right = (max(map(len, column)) for column in zip(*table, strict=True))
        lines = [
            self.title,
            str(self.network),
            "",
            *(f"{what:<{left}}  {here:>{middle}}  {there:>{right}}" for what, here, there in table),
            "",
            f"2017: {PUBLISHED.source}.",
            "Spikes and look-ups count up to the decision; steps count from 0.",
        ]
        if self.checks:
            lines += ["", *self.checks]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, which JSON holds."""
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

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def to_html(self) -> str:
        """The report as one page that needs nothing else, with figures.

        Raises
        ------
        BuildError
            If matplotlib is missing.
        """
        from . import plots

        figures = [
            ("Decision steps", plots.decision_steps(self.inference)),
            ("Decided by each step", plots.accuracy_by_step(self.inference, self.labels)),
        ]
        if self.example is not None:
            figures.append(("Spikes of one sample", plots.raster(self.network, self.example)))
        escape = html.escape
        rows = "\n".join(
            f"<tr><td>{escape(what)}<td>{escape(here)}<td>{escape(there) or '–'}"
            for what, here, there in self.rows()
        )
        parts = [
            _PAGE_HEAD.format(title=escape(self.title), network=escape(str(self.network))),
            f"<table>\n<tr><th><th>here<th>2017, MNIST\n{rows}\n</table>",
            f"<p class=small>2017: {escape(PUBLISHED.source)}. Spikes and look-ups count up to the "
            "decision; steps count from 0.</p>",
        ]
        if self.checks:
            items = "\n".join(f"<li>{escape(check)}" for check in self.checks)
            parts.append(f"<h2>Verified</h2>\n<ul>\n{items}\n</ul>")
        parts += [f"<h2>{escape(name)}</h2>\n{plots.to_svg(figure)}" for name, figure in figures]
        return "\n".join(parts) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as ``.txt``, ``.json`` or ``.html``; whole or not at all.

        Raises
        ------
        DataError
            If ``path`` ends in something else.
        BuildError
            If a page is asked for and matplotlib is missing.
        FirstspikeError
            If the file cannot be written.
        """
        writers = {".txt": self.to_text, ".json": self.to_json, ".html": self.to_html}
        kind = Path(path).suffix.lower()
        if kind not in writers:
            raise DataError(f"{path} was to be a report; its name must end in {', '.join(writers)}")
        text = writers[kind]().rstrip("\n") + "\n"
        with write_atomically(path) as file:
            file.write(text.encode())


_PAGE_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: auto; padding: 1rem; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #ddd; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
svg {{ max-width: 100%; height: auto; }}
.small {{ color: #555; font-size: .85rem; }}
</style>
<h1>{title}</h1>
<p>{network}</p>"""
