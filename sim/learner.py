"""The golden learner: ``docs/learning.md`` written down in numpy, to be read and to be trusted.

It shares the neuron with the golden model and nothing with the gateware. Like the golden model it
goes one sample and one step at a time; :mod:`firstspike.sim.fast_learner` gives the same weights
some hundred times faster.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from ..firmware.errors import DataError
from ..firmware.formats import NEVER, weight_limit
from ..firmware.learning import Progress, Rule
from ..firmware.network import Network
from . import golden
from .neuron import CurrentNeurons
from .result import Inference

__all__ = ["Learned", "Learner", "check_labels"]

#: The spike step of a neuron that does not spike, later than every other.
_NEVER = np.iinfo(np.int64).max

_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1


@dataclass(frozen=True, eq=False)
class Learned:
    """What a batch of samples did while it was learned.

    Parameters
    ----------
    label, step : (batch,) int32
        The decision before the update, with the neurons that were left out.
    fired : (batch,) bool
        Whether an output had spiked.
    stop : (batch,) int32
        The stop step S.
    erred : (batch,) bool
        Whether there was anything to learn.
    rows : (batch, layers) int32
        Weight rows fetched in steps 0 … S.
    updated : (batch, layers) int32
        Those of them that were drawn for an update.
    """

    label: np.ndarray
    step: np.ndarray
    fired: np.ndarray
    stop: np.ndarray
    erred: np.ndarray
    rows: np.ndarray
    updated: np.ndarray

    @classmethod
    def blank(cls, batch: int, layers: int) -> Self:
        """Return the results of ``batch`` samples to fill."""
        return cls(
            label=np.zeros(batch, dtype=np.int32),
            step=np.zeros(batch, dtype=np.int32),
            fired=np.zeros(batch, dtype=bool),
            stop=np.zeros(batch, dtype=np.int32),
            erred=np.zeros(batch, dtype=bool),
            rows=np.zeros((batch, layers), dtype=np.int32),
            updated=np.zeros((batch, layers), dtype=np.int32),
        )


class _Row(NamedTuple):
    """A weight row that was fetched."""

    number: int
    step: int


class Learner:
    """A network that learns.

    Parameters
    ----------
    network : Network
        The weights to start from; it does not change.
    rule : Rule
        Its margin is below the network's steps.
    progress : Progress
        Where learning stands.
    has_row : (inputs,) bool, optional
        Inputs that have a weight row. Default: those with a weight other than 0.

    Attributes
    ----------
    rule : Rule
        May be replaced between two calls.

    Raises
    ------
    DataError
        If rule, progress or rows do not suit the network.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule,
        progress: Progress,
        *,
        has_row: np.ndarray | None = None,
    ) -> None:
        self._start = network
        self._weights = [layer.weights.copy() for layer in network.layers]
        self._has_row = np.any(network.layers[0].weights, axis=1) if has_row is None else has_row
        if self._has_row.shape != (network.inputs,):
            raise DataError(
                f"has_row has shape {self._has_row.shape}, but the network has {network.inputs} "
                "inputs"
            )
        if len(progress.dropout) != len(network.layers) - 1:
            raise DataError(
                f"the progress is of a network with {len(progress.dropout)} hidden layers, but "
                f"this one has {len(network.layers) - 1}"
            )
        self._progress = progress
        self.rule = rule

    @property
    def rule(self) -> Rule:
        return self._rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        rule.check(len(self._start.layers), self._start.steps)
        self._rule = rule

    @property
    def has_row(self) -> np.ndarray:
        """(inputs,) bool: which inputs have a weight row."""
        return self._has_row.copy()

    @property
    def progress(self) -> Progress:
        """Where learning stands now."""
        return self._progress

    @property
    def network(self) -> Network:
        """The network with the weights as they are now."""
        layers = [
            replace(layer, weights=weights.copy())
            for layer, weights in zip(self._start.layers, self._weights, strict=True)
        ]
        return Network(layers, self._start.steps, self._start.meta)

    def infer(self, samples: np.ndarray) -> Inference:
        """Classify samples with the weights as they are now; see :func:`golden.infer`.

        In ``rows``, an input whose weights have all become 0 counts as one without a row.
        """
        return golden.infer(self.network, samples)

    def learn(
        self,
        samples: np.ndarray,
        labels: np.ndarray,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> Learned:
        """Learn from samples, one after the other.

        Parameters
        ----------
        samples : (batch, inputs) integers
            Spike step of each input, 0 … T−1, or ``NEVER``.
        labels : (batch,) integers
        progress : callable, optional
            Called with the number of samples finished since the last call, like ``tqdm.update``.

        Raises
        ------
        DataError
            If samples or labels do not suit the network.
        """
        samples = self._start.check_samples(samples)
        labels = check_labels(labels, len(samples), self._start.outputs)
        learned = Learned.blank(len(samples), len(self._weights))
        self._run(samples, labels, learned, progress or (lambda count: None))
        return learned

    def _run(
        self,
        samples: np.ndarray,
        labels: np.ndarray,
        learned: Learned,
        progress: Callable[[int], object],
    ) -> None:
        """Learn from checked samples and fill ``learned``."""
        for index, (sample, label) in enumerate(zip(samples, labels, strict=True)):
            self._learn_one(sample, int(label), learned, index)
            progress(1)

    def _learn_one(self, sample: np.ndarray, label: int, learned: Learned, index: int) -> None:
        """Learn from one sample and write row ``index`` of ``learned``."""
        left_out = self._leave_out()
        sample = self._leave_out_inputs(sample)
        when, fetched, stop = self._forward(sample, label, left_out, learned, index)
        last = len(self._weights) - 1

        missed = when[last][label] == _NEVER
        errors = -(when[last] != _NEVER).astype(np.int64)
        errors[label] = 1
        learned.stop[index] = stop
        learned.erred[index] = missed or (errors < 0).any()
        self._progress = replace(self._progress, learned=(self._progress.learned + 1) & _U32)
        if not learned.erred[index]:
            return
        for layer in range(last, -1, -1):
            weights, rate = self._weights[layer], self.rule.rates[layer]
            change = self.rule.step if layer == last else 1
            limit = weight_limit(self._start.layers[layer].weight_bits)
            silent = when[layer] == _NEVER
            if layer < last and missed and (~silent).sum() < self.rule.activity:
                errors[silent] = 1
            errors_before = np.zeros(len(weights), dtype=np.int64)
            for row in fetched[layer]:
                concerned = (errors != 0) & (row.step <= when[layer])
                own = weights[row.number].astype(np.int64)
                votes = np.where(np.abs(own) > self.rule.dead_zone, np.sign(own), 0) * errors
                positive = (concerned & (votes > 0)).sum()
                negative = (concerned & (votes < 0)).sum()
                errors_before[row.number] = np.sign(positive - negative)
                if self._draw() < rate:
                    moved = own + np.where(concerned, change * errors, 0)
                    weights[row.number] = moved.clip(-limit, limit)
                    learned.updated[index, layer] += 1
            errors = errors_before

    def _forward(
        self,
        sample: np.ndarray,
        label: int,
        left_out: list[np.ndarray],
        learned: Learned,
        index: int,
    ) -> tuple[list[np.ndarray], list[list[_Row]], int]:
        """Run to the stop step; return each layer's spike steps and fetched rows, and that step."""
        network = self._start
        steps, last = network.steps, len(network.layers) - 1
        populations = [
            CurrentNeurons(layer.neurons, layer.k, layer.threshold, layer.membrane_bits)
            for layer in network.layers
        ]
        when = [np.full(layer.neurons, _NEVER) for layer in network.layers]
        fetched: list[list[_Row]] = [[] for _ in network.layers]
        decided = False
        stop = steps - 1
        step = 0
        while step <= stop:
            spikes = np.equal(sample, step)
            for layer, population in enumerate(populations):
                has_row = self._has_row if layer == 0 else True
                rows = np.flatnonzero(spikes & has_row)
                fetched[layer] += [_Row(int(row), step) for row in rows]
                charge = self._weights[layer][rows].sum(axis=0, dtype=np.int64)
                spikes = population.step(charge)
                if layer < last:
                    spikes &= ~left_out[layer]
                when[layer][spikes] = step
            if not decided and (spikes.any() or step == steps - 1):
                decided = True
                contenders = spikes if spikes.any() else np.ones_like(spikes)
                membrane = populations[last].membrane
                lowest = np.iinfo(np.int64).min
                learned.label[index] = np.where(contenders, membrane, lowest).argmax()
                learned.step[index] = step
                learned.fired[index] = spikes.any()
            if spikes[label]:
                stop = min(step + self.rule.margin, steps - 1)
            step += 1
        learned.rows[index] = [len(rows) for rows in fetched]
        return when, fetched, stop

    def _leave_out(self) -> list[np.ndarray]:
        """Draw which neurons of each hidden layer are left out; a mask for each."""
        masks = []
        states = []
        for layer, before in zip(self._start.layers, self._progress.dropout, strict=False):
            state = before
            numbers: list[int] = []
            while len(numbers) < layer.neurons:
                state ^= (state << 13) & _U64
                state ^= state >> 7
                state ^= (state << 17) & _U64
                numbers += [(state >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
            masks.append(np.array(numbers[: layer.neurons]) < self.rule.dropout)
            states.append(state)
        self._progress = replace(self._progress, dropout=states)
        return masks

    def _leave_out_inputs(self, sample: np.ndarray) -> np.ndarray:
        """The sample without the input spikes that are drawn to be left out."""
        if self.rule.input_dropout == 0:
            return sample
        kept = sample.copy()
        for step in range(self._start.steps):
            for number in np.flatnonzero(sample == step):
                if self._draw() < self.rule.input_dropout:
                    kept[number] = NEVER
        return kept

    def _draw(self) -> int:
        """Draw a number of the update generator."""
        state = self._progress.update
        state ^= (state << 13) & _U32
        state ^= state >> 17
        state ^= (state << 5) & _U32
        self._progress = replace(self._progress, update=state)
        return state >> 16


def check_labels(labels: np.ndarray, batch: int, outputs: int) -> np.ndarray:
    """The labels as ``int64``.

    Raises
    ------
    DataError
        If there is not one for each sample, or one is of no output.
    """
    labels = np.asarray(labels)
    if labels.shape != (batch,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"labels have shape {labels.shape} and dtype {labels.dtype}, but {batch} samples need "
            f"({batch},) integers"
        )
    if batch and not (labels.min() >= 0 and labels.max() < outputs):
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"a label is {bad}, but the outputs are 0 to {outputs - 1}")
    return labels.astype(np.int64)
