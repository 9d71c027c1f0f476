"""The compiled model against the golden model, in every field."""

import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware import formats
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import DataError
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network
from firstspike.sim import fast, golden
from firstspike.sim.compare import require_equal
from firstspike.sim.random_networks import random_case, random_cases
from firstspike.sim.result import Inference


def check(network, samples, **options):
    """Compare both models in values and types, and return what they agree on."""
    expected = golden.infer(network, samples)
    actual = fast.infer(network, samples, **options)
    require_equal(expected, actual, network)
    for ours, theirs in zip(arrays(expected), arrays(actual), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert (ours == theirs).all()
    return actual


def arrays(inference: Inference):
    fields = dict(vars(inference))
    return [*fields.pop("spikes"), *fields.values()]


@pytest.mark.parametrize("block", range(12))
def test_random_networks(block):
    for seed in range(10_000 + block * 100, 10_000 + block * 100 + 100):
        case = random_case(seed)
        try:
            check(case.network, case.samples)
        except Exception as error:
            error.add_note(str(case))
            raise


def test_random_networks_reach_what_they_are_for():
    """Ties, silence, decisions in the first and the last step, saturation, several layers."""
    seen = dict.fromkeys(
        ("tie", "fired", "silent", "first", "last", "floor", "deep", "one step"), 0
    )
    for seed in range(10_000, 10_400):
        case = random_case(seed)
        result = fast.infer(case.network, case.samples)
        fired, steps = result.fired, case.network.steps
        floor = -(1 << (case.network.layers[-1].membrane_bits - 1))
        threshold = case.network.layers[-1].threshold
        together = [len(set(sample[sample != NEVER])) == 1 for sample in case.samples]
        seen["tie"] += result.tied.sum()
        seen["fired"] += fired.sum()
        seen["silent"] += (~fired).sum()
        seen["first"] += (fired & (result.step == 0)).sum()
        seen["last"] += (fired & (result.step == steps - 1)).sum()
        seen["floor"] += threshold < -floor and (result.potential == floor).any(axis=1).sum()
        seen["deep"] += len(case.network.layers) > 2 and fired.any()
        seen["one step"] += sum(together)
    assert min(seen.values()) >= 20, seen


@pytest.mark.parametrize(
    "config",
    [
        None,
        Config([LayerConfig(9, 5, lanes=2, rows=4), LayerConfig(5, 1, lanes=1, weight_bits=2)]),
        Config([LayerConfig(64, 10, lanes=10, k=1, current_bits=8, membrane_bits=8)], max_steps=1),
    ],
)
def test_random_networks_suit_their_configuration(config):
    for seed in range(200):
        case = random_case(seed, config=config)
        assert config is None or case.config == config
        compile(case.network, case.config)
        assert case.network.check_samples(case.samples).dtype == case.samples.dtype


def test_random_cases_follow_from_their_seed():
    for one, other in zip(random_cases(5, seed=3), random_cases(5, seed=3), strict=True):
        assert str(one) == str(other)
        assert (one.samples == other.samples).all()
        for ours, theirs in zip(one.network.layers, other.network.layers, strict=True):
            assert (ours.weights == theirs.weights).all()


def trained_like(rng, shape, steps=64, k=4):
    """A network whose spikes spread over the run, as those of a trained one do."""
    layers = []
    for inputs, neurons in pairwise(shape):
        weights = np.clip(np.rint(rng.normal(5, 30, (inputs, neurons))), -127, 127).astype(int)
        layers.append(Layer(weights, k, int(40 * inputs**0.5 * k)))
    return Network(layers, steps)


def test_image_sized_network():
    rng = np.random.default_rng(2)
    network = trained_like(rng, (784, 600, 10))
    binary = np.where(rng.random((60, 784)) < 0.13, 0, NEVER)
    assert check(network, binary).fired.any()
    grey = np.where(rng.random((20, 784)) < 0.2, rng.integers(0, 16, (20, 784)), NEVER)
    assert check(network, grey).fired.any()
    mixed = np.concatenate([binary[:5], grey[:5], binary[5:10] * 3])
    check(network, np.where(mixed < NEVER, NEVER, mixed))


@pytest.mark.parametrize("weight", [127, -127])
def test_sums_beyond_16_bits(weight):
    network = Network(
        [Layer(np.full((600, 5), weight), 4, 100_000, 8, 32), Layer(np.full((5, 3), 9), 4, 40)], 50
    )
    samples = np.zeros((3, 600), dtype=int)
    samples[1, 1:] = NEVER
    samples[2, ::2] = NEVER
    check(network, samples)


def test_sums_at_the_edges_of_16_bits():
    # 258 · 127 + 1 = 32767 and 258 · −127 − 2 = −32768 still take the narrow path.
    weights = np.zeros((260, 4), dtype=int)
    weights[:258] = [127, -127, 127, -127]
    weights[258:] = [[1, -1, 2, -1], [0, -1, 0, -2]]
    for columns in ([0, 1], [2, 1], [0, 3]):
        network = Network(
            [Layer(weights[:, columns], 4, 40_000, 8, 32), Layer([[50], [1]], 4, 90)], 9
        )
        assert check(network, np.zeros((1, 260), dtype=int)).step.tolist() == [2]


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize("threshold", [1, 7, 300, 5000, 2**31])
def test_every_row_sum(k, threshold):
    """All charges from −500 to 500, one hidden neuron each, in the first and in a later step."""
    charges = np.arange(-500, 501)
    parts = [np.clip(np.abs(charges) - 127 * i, 0, 127) for i in range(4)]
    weights = np.sign(charges) * np.array(parts)
    assert (weights.sum(axis=0) == charges).all()
    network = Network(
        [Layer(weights, k, threshold, 8, 32), Layer(np.zeros((1001, 1), dtype=int), 1, 1)], 90
    )
    check(network, np.array([[0] * 4, [37] * 4]))


def test_widest_membrane_saturates():
    network = Network(
        [Layer(np.full((2, 3), -127), 8, 2**31, 8, 32), Layer(np.full((3, 2), 1), 8, 1, 8, 32)], 30
    )
    check(network, np.array([[0, 0], [0, 1]]))
    alone = Network([Layer(np.full((2, 3), -127), 8, 2**31, 8, 32)], 30)
    assert (check(alone, np.array([[0, 0], [0, 1]])).potential == -(2**31)).all()


def test_many_steps():
    # Small currents do not decay. The hidden neurons spike 16000 / 1 and 16000 / 2 steps on, in
    # 16002 and 8002; output 0 has 24000 by step 16001 and rises by 3 + 1 a step from then on.
    network = Network(
        [Layer([[1, 2]], 8, 16_000), Layer([[1, 1], [3, 0]], 8, 30_000)], formats.MAX_STEPS
    )
    assert check(network, np.array([[3]])).step.tolist() == [17_501]


def test_layouts_and_types_of_samples():
    rng = np.random.default_rng(4)
    network = trained_like(rng, (30, 20, 5))
    samples = rng.integers(NEVER, 8, (10, 30))
    for variant in (
        samples.astype(np.int8),
        samples.astype(np.int32),
        np.asfortranarray(samples),
        np.repeat(samples, 2, axis=0)[::2],
    ):
        check(network, variant)
    frozen = samples.astype(np.int32)
    frozen.flags.writeable = False
    check(network, frozen)
    writeable = samples.astype(np.int32)
    fast.infer(network, writeable)
    assert writeable.flags.writeable


@pytest.mark.parametrize("batch", [0, 1, 1024, 1025, 2500])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_threads_and_progress(batch, threads):
    rng = np.random.default_rng(5)
    network = trained_like(rng, (12, 6, 3))
    samples = rng.integers(NEVER, 4, (batch, 12))
    finished = []
    check(network, samples, threads=threads, progress=finished.append)
    assert sum(finished) == batch


def test_refuses_wrong_arguments():
    network = Network([Layer([[1]], 4, 1)], 4)
    with pytest.raises(DataError, match="threads"):
        fast.infer(network, np.array([[0]]), threads=0)
    with pytest.raises(DataError, match="steps"):
        fast.infer(network, np.array([[4]]))


def run_apart(script, **environment):
    """Run a script in a process of its own, with more environment variables."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_stays_within_its_arrays(tmp_path):
    script = (
        "from firstspike.sim import fast\n"
        "from firstspike.sim.random_networks import random_cases\n"
        "for case in random_cases(300, seed=20_000):\n"
        "    fast.infer(case.network, case.samples)\n"
    )
    run_apart(script, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))


def test_runs_where_no_cache_can_be_written():
    script = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from firstspike.sim.jit import jit\n"
        "assert jit(lambda x: x + 1)(2) == 3\n"
    )
    run_apart(script)
