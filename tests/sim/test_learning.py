"""The gateware that learns against the golden learner: weights, generators and answers."""

from dataclasses import replace

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware.formats import NEVER, weight_limit
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.layout import unpack_row_map
from firstspike.firmware.learning import ALWAYS, Progress, Rule
from firstspike.firmware.network import Network
from firstspike.firmware.protocol import (
    ANSWER,
    Op,
    encode_sample,
    learning_argument,
    memory_address,
)
from firstspike.firmware.registers import register_map
from firstspike.sim import golden
from firstspike.sim.compare import require_equal
from firstspike.sim.cycles import predict
from firstspike.sim.engine import AcceleratorSimulation, CoreSimulation
from firstspike.sim.learning_cycles import ClockedLearner
from firstspike.sim.random_lessons import (
    learning_build,
    random_part,
    random_pupil,
    random_rule,
    random_samples,
    teach,
)
from firstspike.sim.virtual_board import ModelBackend

#: Builds that differ in everything that the gateware is made from.
CONFIGS = {
    "one layer": learning_build([12, 5], [5], bits=5),
    "one layer in groups": learning_build([12, 7], [2], bits=3, fetch=1),
    "one group": learning_build([20, 16, 5], [16, 5], neuron="sum"),
    "groups": learning_build([20, 22, 7], [4, 3], neuron="sum", bits=[4, 8]),
    "lanes that do not divide": learning_build([16, 19, 5], [8, 2], bits=[8, 2], rows=11),
    "one lane": learning_build([10, 8, 4], [8, 1], steps=9, fetch=3),
    "two hidden layers": learning_build([16, 24, 13, 5], [8, 13, 5], neuron="sum", bits=[3, 4, 6]),
    "three hidden layers": learning_build([14, 12, 21, 10, 6], [4, 8, 10, 4], bits=[2, 4, 3, 5]),
    "many lanes": learning_build([24, 70, 17], [68, 17], bits=[5, 4], k=[2, 7], fetch=4),
    "one step": learning_build([9, 9, 3], [4, 2], bits=[7, 2], k=[1, 8], steps=1, fetch=1),
    "a power of two": learning_build(
        [9, 13, 6], [12, 6], bits=[6, 7], k=[6, 7], steps=16, neuron="sum"
    ),
    "five layers": learning_build(
        [8] * 5 + [4], [4, 8, 4, 8, 3], bits=3, k=[1, 2, 8, 3, 5], steps=32
    ),
}


@pytest.fixture(scope="module", params=CONFIGS)
def simulation(request):
    config = CONFIGS[request.param]
    with CoreSimulation(image_of(np.random.default_rng(0), config)) as simulation:
        yield simulation


def image_of(rng, config):
    """A random network, compiled; some outputs may take no part."""
    network, has_row = random_pupil(rng, config)
    return random_part(rng, compile(network, config, has_row=has_row))


@pytest.mark.parametrize("seed", range(13))
def test_it_learns_as_the_golden_learner_does(seed, simulation):
    config = simulation.config
    rng = np.random.default_rng(seed)
    image = image_of(rng, config)
    simulation.load(image)
    network = image.network()
    progress = Progress.start(len(config.layers), seed=seed)
    rule = Rule.at_rest(len(config.layers))
    has_row = unpack_row_map(image.regions["row_map"], config) >= 0
    learner = ClockedLearner(config, network, rule, progress, has_row=has_row)
    simulation.progress = progress
    for _ in range(3):
        rule = random_rule(rng, config, network.steps)
        samples = random_samples(rng, config, network, 6)
        labels = rng.integers(network.outputs, size=len(samples))
        teach(simulation, learner, image, samples, labels, rule=rule)
        learned = learner.network

        # An inference in between, with the weights as they are now; cycles as without learning.
        samples = random_samples(rng, config, network, 4)
        inference, cycles = simulation.infer(samples)
        wanted = golden.infer(learned, samples)
        rows = ((samples <= wanted.step[:, None]) & (samples != NEVER) & has_row).sum(axis=1)
        wanted = replace(wanted, rows=np.column_stack([rows, wanted.rows[:, 1:]]))
        require_equal(wanted, inference, learned)
        if (learned.layers[0].weights.any(axis=1) == has_row).all():
            assert (cycles == predict(config, learned, samples, wanted)).all()


def test_weights_stay_at_their_ends(simulation):
    """A long run from weights that are at an end of their range or near one."""
    config = simulation.config
    rng = np.random.default_rng(7)
    drawn, has_row = random_pupil(rng, config)
    layers = []
    for layer in drawn.layers:
        limit = weight_limit(layer.weight_bits)
        shape = layer.weights.shape
        weights = rng.integers(max(limit - 3, 0), limit + 1, shape) * rng.choice([-1, 1, 1], shape)
        if not layers:
            weights[~has_row] = 0
        layers.append(replace(layer, weights=weights.astype(np.int8), threshold=2 * limit))
    image = compile(Network(layers, config.max_steps), config, has_row=has_row)
    simulation.load(image)
    network = image.network()
    has_row = unpack_row_map(image.regions["row_map"], config) >= 0
    rule = Rule([ALWAYS] * len(layers), margin=network.steps // 8, activity=65535, step=7)
    progress = Progress.start(len(layers))
    learner = ClockedLearner(config, network, rule, progress, has_row=has_row)
    simulation.progress = progress
    samples = random_samples(rng, config, network, 100)
    labels = rng.integers(network.outputs, size=100)
    teach(simulation, learner, image, samples, labels, rule=rule)
    arrived = 0
    for built, before, after in zip(
        config.layers, network.layers, learner.network.layers, strict=True
    ):
        limit = weight_limit(built.weight_bits)
        arrived += ((abs(after.weights) == limit) & (abs(before.weights) < limit)).sum()
    assert arrived


def converse(backend, frames):
    """Answers of a device to frames, two of which are always on their way."""
    backend.byte_cycles = 1
    decoder = FrameDecoder()
    answers = []
    clock = 0
    for index in range(0, len(frames), 2):
        pair = frames[index : index + 2]
        data = b"".join(frame.encode() for frame in pair)
        backend.send(data, clock)
        clock += len(data)
        while len(answers) < index + len(pair):
            received, end = backend.receive(clock + 1_000_000)
            assert received
            answers += decoder.feed(received)
            clock = max(clock, end)
    return answers


def test_the_link_teaches_each_sample_once():
    config = learning_build([18, 12, 5], [4, 5], neuron="sum", bits=8)
    rng = np.random.default_rng(5)
    image = image_of(rng, config)
    address = {name: number for name, number, _ in register_map(config)}
    rule = Rule(rates=[ALWAYS, 30000], margin=3, dropout=9000, input_dropout=2000, step=3)
    progress = Progress(77, [1 << 40], (1 << 16) - 3)
    values = dict(image.registers) | rule.registers() | progress.registers()
    frames = [
        Frame(Op.WRITE_REGISTER, 0, address[name], value.to_bytes(4, "little"))
        for name, value in values.items()
    ]
    frames += [
        Frame(Op.WRITE_MEMORY, 1, memory_address(number, 0), image.regions[region.name])
        for number, region in enumerate(config.regions)
    ]
    model = image.crc.to_bytes(4, "little")
    frames.append(Frame(Op.WRITE_REGISTER, 2, address["model"], model))
    number = progress.learned
    classes = image.registers["classes"]
    for seq in range(60):
        sample = np.where(rng.random(config.inputs) < 0.5, 0, NEVER)
        op, payload = encode_sample(sample)
        learns = {Op.INFER_BITMAP: Op.LEARN_BITMAP, Op.INFER_SPIKES: Op.LEARN_SPIKES}[op]
        label = int(rng.integers(classes))
        match rng.integers(10):
            case 0:
                frames.append(Frame(op, seq, image.crc, payload))
            case 1:  # before or behind
                other = number + int(rng.choice([-1, 1, -32768, 32767]))
                frames.append(Frame(learns, seq, learning_argument(label, other), payload))
            case 2:
                frames.append(Frame(learns, seq, learning_argument(classes, number), payload))
            case 3:  # too long, and wrong in every other way
                bad = learning_argument(classes, number + 1)
                frames.append(Frame(Op.LEARN_BITMAP, seq, bad, bytes(9)))
            case 4:
                bad = learning_argument(label, number)
                frames.append(Frame(Op.LEARN_SPIKES, seq, bad, bytes([200, 0])))
            case _:
                frames.append(Frame(learns, seq, learning_argument(label, number), payload))
                number += 1
    for name, register in address.items():
        if "frames" not in name:
            frames.append(Frame(Op.READ_REGISTER, 2, register, b""))
    for region, memory in enumerate(config.regions):
        words = memory.words.to_bytes(4, "little")
        frames.append(Frame(Op.READ_MEMORY, 3, memory_address(region, 0), words))

    def answers(backend):
        for frame in converse(backend, frames):
            learned = frame.op & ~ANSWER in (Op.LEARN_BITMAP, Op.LEARN_SPIKES)
            # The model does not know how long learning takes.
            yield replace(frame, payload=frame.payload[4:]) if learned else frame

    device = AcceleratorSimulation(config)
    for asked, expected, actual in zip(
        frames, answers(ModelBackend(config)), answers(device), strict=True
    ):
        assert actual == expected, asked
    device.close()
