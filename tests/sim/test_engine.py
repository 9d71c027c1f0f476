"""The compiled gateware against the golden model and the cycle model, in every field."""

import sys

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import BuildError, DataError, Mismatch
from firstspike.firmware.formats import NEVER
from firstspike.firmware.image import Image
from firstspike.firmware.network import Layer, Network
from firstspike.sim import engine, golden
from firstspike.sim.compare import require_equal
from firstspike.sim.cycles import predict
from firstspike.sim.engine import CoreSimulation
from firstspike.sim.random_networks import random_case

#: Three layers, among them one with one group and one whose lanes do not divide its neurons.
LAYERS = Config.for_network(
    Network(
        [
            Layer(np.full((40, 70), 1), 3, 100),
            Layer(np.full((70, 9), 1), 2, 100),
            Layer(np.full((9, 5), 1), 4, 100),
        ],
        steps=50,
    ),
    lanes=[33, 9, 2],
)


def pad(samples, config):
    return np.pad(samples, ((0, 0), (0, config.inputs - samples.shape[1])), constant_values=NEVER)


def small_network(seed=1):
    random = np.random.default_rng(seed)
    layers = [
        Layer(random.integers(-20, 30, (40, 70)), 3, 150),
        Layer(random.integers(-20, 30, (70, 9)), 2, 150, membrane_bits=12),
    ]
    return Network(layers, steps=40)


NETWORK = small_network()
IMAGE = compile(NETWORK, Config.for_network(NETWORK, lanes=[33, 4]))


@pytest.fixture(scope="module")
def simulation():
    with CoreSimulation(IMAGE) as simulation:
        yield simulation


def make_samples(count, seed=2):
    random = np.random.default_rng(seed)
    samples = random.integers(0, NETWORK.steps // 2, (count, NETWORK.inputs))
    samples[random.random(samples.shape) < 0.6] = NEVER
    samples[::2] = np.where(samples[::2] >= 0, 0, NEVER)
    samples[1] = NEVER
    return samples


def test_it_agrees_with_the_golden_model_in_every_field(simulation):
    samples = make_samples(150)
    expected = golden.infer(simulation.network, samples)
    actual, cycles = simulation.infer(samples)
    require_equal(expected, actual, simulation.network)
    assert expected.fired.any()
    assert (cycles == predict(IMAGE.config, simulation.network, samples, expected)).all()


@pytest.mark.parametrize("seed", range(12))
def test_networks_that_go_where_errors_hide(seed, case_simulation):
    case = random_case(seed, config=case_simulation.config, batch=20)
    case_simulation.load(compile(case.network, case.config))
    samples = pad(case.samples, case.config)
    network = case_simulation.network
    expected = golden.infer(network, samples)
    actual, cycles = case_simulation.infer(samples)
    require_equal(expected, actual, network)
    assert (cycles == predict(case.config, network, samples, expected)).all()


@pytest.fixture(scope="module")
def case_simulation():
    case = random_case(0, config=LAYERS)
    with CoreSimulation(compile(case.network, case.config)) as simulation:
        yield simulation


def test_memories_read_back_as_loaded(simulation):
    assert simulation.read_back() == IMAGE.regions


def test_another_image_replaces_the_first(simulation):
    other = compile(small_network(seed=3), IMAGE.config)
    samples = make_samples(20)
    simulation.load(other)
    try:
        require_equal(
            golden.infer(other.network(), samples), simulation.infer(samples)[0], other.network()
        )
    finally:
        simulation.load(IMAGE)


def test_an_image_for_another_configuration_is_refused(simulation):
    other = compile(NETWORK, Config.for_network(NETWORK, lanes=8))
    with pytest.raises(DataError, match="another configuration"):
        simulation.load(other)


def test_samples_that_do_not_suit_are_refused(simulation):
    with pytest.raises(DataError, match="spike steps run"):
        simulation.infer(np.full((1, NETWORK.inputs), NETWORK.steps))


def test_an_empty_batch_gives_an_empty_result(simulation):
    inference, cycles = simulation.infer(np.empty((0, NETWORK.inputs), dtype=np.int32))
    assert len(inference) == len(cycles) == 0


def test_progress_counts_every_sample(simulation):
    done = []
    simulation.infer(make_samples(150), progress=done.append)
    assert sum(done) == 150
    assert len(done) > 1


def test_a_neuron_is_located_in_time(simulation):
    sample = make_samples(2)[0]
    inference, cycles = simulation.infer(sample[None])
    hidden = inference.spikes[0][0]
    seen = [
        (int(step), simulation.locate(sample, 0, neuron, int(step)))
        for neuron, step in enumerate(hidden)
        if step != NEVER
    ]
    assert seen
    assert all(0 < cycle < cycles[0] for _, cycle in seen)
    # Later steps come later.
    assert [step for step, _ in sorted(seen, key=lambda pair: pair[1])] == sorted(
        step for step, _ in seen
    )
    # The decision comes a few cycles after the output's group.
    label, step = int(inference.label[0]), int(inference.step[0])
    assert cycles[0] - simulation.locate(sample, 1, label, step) < 16
    assert simulation.locate(sample, 0, 0, NETWORK.steps - 1) is None


def test_a_core_that_never_answers_is_reported(simulation, monkeypatch):
    monkeypatch.setattr(engine, "_patience", lambda config: 10)
    with CoreSimulation(IMAGE) as impatient, pytest.raises(Mismatch, match=r"sample 0.*no result"):
        impatient.infer(make_samples(2))


def test_waveforms_show_the_core(tmp_path):
    random = np.random.default_rng(4)
    network = Network([Layer(random.integers(-3, 9, (4, 3)), 2, 10)], steps=5)
    path = tmp_path / "core.vcd"
    with CoreSimulation(compile(network), waveform=path) as simulation:
        simulation.infer(np.zeros((1, 4), dtype=np.int32))
    assert "sequencer" in path.read_text()


def test_without_amaranth_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "firstspike.hdl.core", None)
    with pytest.raises(BuildError, match=r"firstspike\[sim\]"):
        CoreSimulation(IMAGE)


def test_a_flipped_bit_in_memory_changes_what_runs(simulation):
    contents = bytearray(IMAGE.regions["weights_0"])
    contents[100] ^= 0x10
    regions = dict(IMAGE.regions) | {"weights_0": bytes(contents)}
    simulation.load(Image(IMAGE.config, IMAGE.registers, regions))
    try:
        assert simulation.read_back()["weights_0"] == bytes(contents)
    finally:
        simulation.load(IMAGE)
