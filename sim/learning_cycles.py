"""The cycle model of samples to learn from: what :mod:`firstspike.sim.cycles` is to inferences.

The run up to the stop step is that of an inference, but for neurons and spikes that are left out.
What follows is a chain: the layers replay their rows one after the other, a row at a time.
"""

from typing import Any

import numpy as np

from ..firmware.config import DROPOUT_DRAWS, Config
from ..firmware.formats import NEVER
from ..firmware.learning import Progress, Rule
from ..firmware.network import Network
from .cycles import Course, Passed, plan_of, run
from .learner import Learned, Learner
from .neuron import CurrentNeurons

__all__ = ["ClockedLearner"]

#: Cycles from a sample's first event to the first draw of a mask, and from the last to its use.
_DROPOUT_LATENCY = 3
#: Cycles from the replay of a layer to the first token of a row: ``read``, ``look`` and ``send``.
_RECORDER_LATENCY = 3
#: Cycles from the issue of a row's last group until its weights are stored, besides those of the
#: weight memory.
_STORE_LATENCY = 3
#: The same until the error of its input is written, besides those of the weight memory and of the
#: rounds of the sum, of four terms each.
_ERROR_LATENCY = 5


class ClockedLearner(Learner):
    """A golden learner that tells how long the gateware takes.

    Parameters
    ----------
    config : Config
        What the accelerator is built for.
    network, rule, progress, has_row
        As of :class:`Learner`.

    Attributes
    ----------
    cycles : list of int
        Of each sample learned so far: from the first event accepted to the result offered. Every
        event is offered as soon as the core takes it, those of one step in ascending order of their
        indices.
    """

    def __init__(
        self,
        config: Config,
        network: Network,
        rule: Rule,
        progress: Progress,
        *,
        has_row: np.ndarray | None = None,
    ) -> None:
        super().__init__(network, rule, progress, has_row=has_row)
        self.config = config
        self.cycles: list[int] = []
        busy = [
            _DROPOUT_LATENCY + layer.groups * -(-layer.lanes // DROPOUT_DRAWS)
            for layer in config.layers[:-1]
        ]
        self._plan = plan_of(config, network, self.has_row, [*busy, 0])
        latencies = []
        for index, layer in enumerate(config.layers):
            rounds = -(-(layer.lanes - 1).bit_length() // 2)
            latencies.append(
                layer.fetch_cycles + (_ERROR_LATENCY + rounds if index else _STORE_LATENCY)
            )
        self._drain = max(latencies) + 1

    def _learn_one(self, sample: np.ndarray, label: int, learned: Learned, index: int) -> None:
        self._numbers: list[int] = []
        super()._learn_one(sample, label, learned, index)
        layers = len(self.config.layers)
        flushed, ended = (np.empty(1, dtype=np.int64) for _ in range(2))
        passed = Passed(flushed, ended, np.empty((1, layers), dtype=np.int64))
        stop = learned.stop[index, None]
        run(self._plan, Course(sample[None], self._kept[None], self._spikes, stop), passed)
        cycle = int(max(flushed[0], ended[0])) + 2
        if learned.erred[index]:
            for layer in range(layers - 1, -1, -1):
                late = bool(passed.first[0, layer] <= flushed[0])
                rows = int(learned.rows[index, layer])
                cycle = self._replay(cycle, layer, rows, late) + self._drain + 1
        self.cycles.append(cycle)

    def _replay(self, start: int, layer: int, rows: int, late: bool) -> int:
        """The cycle in which a layer that replays its rows from cycle ``start`` on has done so.

        ``late`` tells whether anything was recorded if nothing is to be replayed.
        """
        if rows == 0:
            return start + (_RECORDER_LATENCY - 1 if late else 0)
        wanted = [True] * rows
        if layer == 0:
            rate = self.rule.rates[0]
            wanted = [number < rate for number in self._numbers[-rows:]]
        drawn, accepted = start + _RECORDER_LATENCY - 2, start
        for sends in wanted:
            drawn = max(drawn + 1, accepted)
            if sends:
                accepted = max(drawn, accepted) + self.config.layers[layer].groups
        return max(drawn, accepted) + 1

    def _forward(
        self,
        sample: np.ndarray,
        label: int,
        left_out: list[np.ndarray],
        learned: Learned,
        index: int,
    ) -> Any:
        self._kept = sample
        self._spikes = self._all_spikes(sample, left_out)[None]
        return super()._forward(sample, label, left_out, learned, index)

    def _all_spikes(self, sample: np.ndarray, left_out: list[np.ndarray]) -> np.ndarray:
        """Spike steps of all neurons, those after the stop step as well: layers run ahead."""
        network = self.network
        whole = [*left_out, np.zeros(network.outputs, dtype=bool)]
        populations = [
            CurrentNeurons(layer.neurons, layer.k, layer.threshold, layer.membrane_bits)
            for layer in network.layers
        ]
        when = [np.full(layer.neurons, NEVER) for layer in network.layers]
        for step in range(network.steps):
            spikes = np.equal(sample, step)
            for layer, population in enumerate(populations):
                charge = network.layers[layer].weights[spikes].sum(axis=0, dtype=np.int64)
                spikes = population.step(charge) & ~whole[layer]
                when[layer][spikes] = step
        return np.concatenate(when)

    def _draw(self) -> int:
        number = super()._draw()
        self._numbers.append(number)
        return number
