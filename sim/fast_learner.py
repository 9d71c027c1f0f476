"""The golden learner, compiled: the same weights, states and answers, tens of thousands of samples
a second.

It is fast for the reasons for which :mod:`firstspike.sim.fast` is. The table of spike steps does
not depend on the weights, only its length does: it covers every sum that the weights can reach.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from ..firmware.formats import weight_limit
from ..firmware.learning import Progress, Rule
from ..firmware.network import Network
from . import fast, learner
from .kernels import Learning, Taught, learn
from .learner import Learned
from .result import Inference

__all__ = ["Learner"]

_U32 = (1 << 32) - 1


class Learner(learner.Learner):
    """A :class:`firstspike.sim.learner.Learner` with the same parameters, attributes and errors.

    Parameters
    ----------
    feedback : str
        Where the errors of hidden neurons come from: ``"popcount"`` is the rule. For comparison
        there are ``"weighted"``, the sign of the sum of weights times errors, and ``"fixed"``, the
        rule with the signs that the weights start with.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule,
        progress: Progress,
        *,
        has_row: np.ndarray | None = None,
        feedback: Literal["popcount", "weighted", "fixed"] = "popcount",
    ) -> None:
        super().__init__(network, rule, progress, has_row=has_row)
        limits = np.array([weight_limit(layer.weight_bits) for layer in network.layers])
        largest = int(self._has_row.sum() * limits[0])
        self._plan = fast.make_plan(network, largest)._replace(
            has_row=np.array(self._has_row, dtype=bool)
        )
        self._limits = limits
        self._weighted = feedback == "weighted"
        self._feedback = self._plan.weights
        if feedback == "fixed":
            self._feedback = self._feedback.copy()
        # The weights are those of the plan, in their own shapes.
        parts = np.split(self._plan.weights, self._plan.weight_base[1:])
        self._weights = [
            part.reshape(layer.weights.shape)
            for part, layer in zip(parts, network.layers, strict=True)
        ]

    def infer(self, samples: np.ndarray, *, threads: int = 1) -> Inference:
        return fast.infer(self.network, samples, threads=threads)

    def _run(
        self,
        samples: np.ndarray,
        labels: np.ndarray,
        learned: Learned,
        progress: Callable[[int], object],
    ) -> None:
        changes = np.ones(len(self._weights), dtype=np.int64)
        changes[-1] = self.rule.step
        learning = Learning(
            margin=self.rule.margin,
            dropout=self.rule.dropout,
            activity=self.rule.activity,
            input_dropout=self.rule.input_dropout,
            dead_zone=self.rule.dead_zone,
            rates=np.array(self.rule.rates),
            changes=changes,
            limits=self._limits,
            update=np.array([self.progress.update], dtype=np.uint64),
            leave_out=np.array(self.progress.dropout, dtype=np.uint64),
            feedback=self._feedback,
            weighted=self._weighted,
        )
        arrays = [getattr(learned, name) for name in Taught._fields]
        samples = samples.view()
        samples.flags.writeable = False  # numba compiles for read-only arrays apart; keep to one
        for start in range(0, len(samples), fast.CHUNK):
            part = slice(start, start + fast.CHUNK)
            learn(
                self._plan,
                learning,
                samples[part],
                labels[part],
                Taught(*(array[part] for array in arrays)),
            )
            progress(len(labels[part]))
        self._progress = replace(
            self._progress,
            update=int(learning.update[0]),
            dropout=[int(state) for state in learning.leave_out],
            learned=(self._progress.learned + len(samples)) & _U32,
        )
