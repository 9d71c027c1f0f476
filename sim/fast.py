"""The golden model, compiled: the same answers in every field, a hundred thousand images a second.

Two things make it fast. A sample whose inputs all spike in one step needs no simulation of the
first layer: its spike times are a monotone function of the row sums, looked up in a table. And
everything runs event by event, from the first spike to the decision and no further.

The table is exact. After the only arrival a neuron's current is its row sum ``S`` and decays
without further input, and ``I − (I >> k)`` is monotone in ``I`` and keeps its sign. So for
``S > 0`` the membrane only rises from −θ: it never saturates, and the first crossing depends on
``S`` alone and comes no later for a larger ``S``. For ``S ≤ 0`` it never rises, and no spike comes.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

import numpy as np

from ..firmware.errors import DataError
from ..firmware.formats import column_bounds, membrane_floor, signed_bits
from ..firmware.network import Network
from .kernels import Inferred, Plan, tabulate
from .kernels import infer as infer_kernel
from .result import Inference

__all__ = ["CHUNK", "infer", "make_plan"]

#: Samples a thread takes at once: enough to forget the call, few enough for a smooth progress bar.
CHUNK = 1024


_plans: WeakKeyDictionary[Network, Plan] = WeakKeyDictionary()


def _plan(network: Network) -> Plan:
    """Return the plan of ``network``, made once; networks never change."""
    plan = _plans.get(network)
    if plan is None:
        low, high = column_bounds(network.layers[0].weights)
        narrow = signed_bits(int(low.min()), int(high.max())) <= 16
        plan = _plans[network] = make_plan(network, int(high.max()))._replace(
            sums=np.empty(0, dtype=np.int16 if narrow else np.int32)
        )
    return plan


def make_plan(network: Network, largest: int) -> Plan:
    """A plan of ``network`` with its own copy of the weights.

    Parameters
    ----------
    network : Network
    largest : int
        The largest sum of weights that a neuron of layer 0 may come to.
    """
    layers = network.layers
    first = layers[0]
    delays = np.empty(largest + 1, dtype=np.int32)
    tabulate(delays, first.k, first.threshold, network.steps)
    return Plan(
        steps=network.steps,
        sizes=np.array(network.shape),
        weights=np.concatenate([layer.weights.ravel() for layer in layers]),
        weight_base=np.cumsum([0, *(layer.weights.size for layer in layers[:-1])]),
        neuron_base=np.cumsum([0, *network.shape[1:]]),
        k=np.array([layer.k for layer in layers]),
        start=np.array([-layer.threshold for layer in layers]),
        floor=np.array([membrane_floor(layer.membrane_bits) for layer in layers]),
        has_row=np.any(first.weights, axis=1),
        delays=delays,
        least=int((delays >= network.steps).sum()),
        sums=np.empty(0, dtype=np.int32),
    )


def infer(
    network: Network,
    samples: np.ndarray,
    *,
    threads: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Inference:
    """Classify samples; every field equals that of :func:`firstspike.sim.golden.infer`.

    Parameters
    ----------
    network : Network
    samples : (batch, inputs) integers
        Spike step of each input, 0 … T−1, or ``NEVER``. ``int32`` in C order is read in place.
    threads : int
        Threads to spread the batch over.
    progress : callable, optional
        Called with the number of samples finished since the last call, like ``tqdm.update``.

    Raises
    ------
    DataError
        If the samples do not suit the network, or ``threads`` is not positive.
    """
    if threads < 1:
        raise DataError(f"{threads} threads were asked for, but it takes at least 1")
    samples = network.check_samples(samples).view()
    samples.flags.writeable = False  # numba compiles for read-only arrays apart; keep to one kind
    plan = _plan(network)
    batch, layers = len(samples), len(network.layers)
    result = Inferred(
        label=np.empty(batch, dtype=np.int32),
        step=np.empty(batch, dtype=np.int32),
        fired=np.empty(batch, dtype=bool),
        tied=np.empty(batch, dtype=bool),
        spikes=np.empty((batch, plan.neuron_base[-1]), dtype=np.int32),
        potential=np.empty((batch, network.outputs), dtype=np.int32),
        events=np.empty((batch, layers), dtype=np.int32),
        rows=np.empty((batch, layers), dtype=np.int32),
    )

    def run(start: int) -> int:
        part = slice(start, min(start + CHUNK, batch))
        infer_kernel(plan, samples[part], Inferred(*(array[part] for array in result)))
        return part.stop - part.start

    with ThreadPoolExecutor(threads) as pool:
        spread = pool.map if threads > 1 else map  # a pool starts no thread before its first use
        for finished in spread(run, range(0, batch, CHUNK)):
            if progress is not None:
                progress(finished)
    layered = tuple(np.split(result.spikes, plan.neuron_base[1:-1], axis=1))
    return Inference(**(result._asdict() | {"spikes": layered}))
