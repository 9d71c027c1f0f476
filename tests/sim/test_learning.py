"""The gateware that learns against the golden learner: weights, generators and answers."""

from dataclasses import replace

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.formats import NEVER, signed_bits, weight_limit
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.image import Image
from firstspike.firmware.layout import unpack_row_map
from firstspike.firmware.learning import ALWAYS, Progress, Rule
from firstspike.firmware.network import Layer, Network
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
from firstspike.sim.virtual_board import ModelBackend


def config_of(shape, lanes, *, bits=4, neuron="current", steps=24, rows=0, fetch=2):
    """An accelerator that learns, with currents as wide as any weights may need."""
    bits = [bits] * len(lanes) if isinstance(bits, int) else bits
    layers = []
    for index, count in enumerate(lanes):
        inputs = (rows if index == 0 else 0) or shape[index]
        kind = neuron if index == 0 else "current"
        most = inputs * weight_limit(bits[index])
        current = max(signed_bits(-most, most + 1), bits[index])
        layers.append(
            LayerConfig(
                inputs=shape[index],
                neurons=shape[index + 1],
                lanes=count,
                weight_bits=bits[index],
                k=2 + index,
                current_bits=current,
                membrane_bits=max(current, 12),
                rows=inputs,
                neuron=kind,
                fetch_cycles=fetch,
            )
        )
    return Config(layers, max_steps=steps, learning=True)


#: Builds that differ in everything that the gateware is made from.
CONFIGS = {
    "one layer": config_of([12, 5], [5], bits=5),
    "one layer in groups": config_of([12, 7], [2], bits=3, fetch=1),
    "one group": config_of([20, 16, 5], [16, 5], neuron="sum"),
    "groups": config_of([20, 22, 7], [4, 3], neuron="sum", bits=[4, 8]),
    "lanes that do not divide": config_of([16, 19, 5], [8, 2], bits=[8, 2], rows=11),
    "one lane": config_of([10, 8, 4], [8, 1], steps=9, fetch=3),
    "two hidden layers": config_of([16, 24, 13, 5], [8, 13, 5], neuron="sum", bits=[3, 4, 6]),
    "three hidden layers": config_of([14, 12, 21, 10, 6], [4, 8, 10, 4], bits=[2, 4, 3, 5]),
    "many lanes": config_of([24, 90, 40, 17], [90, 20, 17], bits=4, fetch=4),
}


@pytest.fixture(scope="module", params=CONFIGS)
def simulation(request):
    config = CONFIGS[request.param]
    with CoreSimulation(image_of(np.random.default_rng(0), config)) as simulation:
        yield simulation


def image_of(rng, config):
    """A random network of a size up to the build's."""
    shape = [config.inputs, *(layer.neurons for layer in config.layers)]
    if rng.random() < 0.3:
        shape = [int(rng.integers(max(1, size // 2), size + 1)) for size in shape]
    has_row = rng.random(shape[0]) < 0.9
    has_row[rng.permutation(shape[0])[config.layers[0].rows :]] = False
    layers = []
    for index, built in enumerate(config.layers):
        limit = weight_limit(built.weight_bits)
        size = (shape[index], shape[index + 1])
        if rng.random() < 0.5:
            weights = rng.integers(-limit, limit + 1, size)
        else:
            weights = np.rint(rng.normal(limit / 4, limit / 2, size)).clip(-limit, limit)
        if index == 0:
            weights[~has_row] = 0
        threshold = max(1, int(limit * shape[index] * 2 ** rng.uniform(-4, 0)))
        layers.append(
            Layer(
                weights.astype(np.int8),
                built.k,
                min(threshold, 1 << (built.membrane_bits - 1)),
                built.weight_bits,
                built.membrane_bits,
            )
        )
    steps = int(rng.integers(1, config.max_steps + 1))
    return compile(Network(layers, steps), config, has_row=has_row)


def rule_of(rng, config, steps):
    """Settings, corners included."""
    return Rule(
        rates=[int(rng.choice([0, ALWAYS, rng.integers(ALWAYS)])) for _ in config.layers],
        margin=int(rng.choice([0, rng.integers(config.max_steps), min(2, steps - 1)])),
        dropout=int(
            rng.choice([0, 8000, rng.integers(ALWAYS), ALWAYS - 1], p=[0.4, 0.3, 0.2, 0.1])
        ),
        activity=int(rng.choice([0, 4, 65535])),
        step=int(rng.integers(1, 8)),
        input_dropout=int(rng.choice([0, 10000, ALWAYS - 1], p=[0.5, 0.4, 0.1])),
        dead_zone=int(rng.choice([0, 1, 3, 127], p=[0.5, 0.2, 0.2, 0.1])),
    )


def samples_of(rng, config, network, count):
    arrivals = config.arrival_steps(network.steps)
    samples = rng.integers(0, max(1, int(arrivals * rng.uniform(0, 1))), (count, network.inputs))
    samples[rng.random(samples.shape) < rng.uniform(0, 0.7)] = NEVER
    return samples


@pytest.mark.parametrize("seed", range(12))
def test_it_learns_as_the_golden_learner_does(seed, simulation):
    config = simulation.config
    rng = np.random.default_rng(seed)
    image = image_of(rng, config)
    simulation.load(image)
    network = image.network()
    progress = Progress.start(len(config.layers), seed=seed)
    rule = rule_of(rng, config, network.steps)
    has_row = unpack_row_map(image.regions["row_map"], config) >= 0
    learner = ClockedLearner(config, network, rule, progress, has_row=has_row)
    simulation.progress = progress
    for _ in range(3):
        simulation.rule = learner.rule = rule
        samples = samples_of(rng, config, network, 6)
        labels = rng.integers(network.outputs, size=len(samples))
        expected = learner.learn(samples, labels)
        actual, cycles = simulation.learn(samples, labels)
        for name in ("label", "step", "fired", "rows"):
            np.testing.assert_array_equal(
                getattr(actual, name), getattr(expected, name), err_msg=name
            )
        np.testing.assert_array_equal(cycles, learner.cycles[-len(samples) :])
        assert simulation.progress == learner.progress
        learned = replace_regions(image, simulation.read_back()).network()
        for index, (got, want) in enumerate(
            zip(learned.layers, learner.network.layers, strict=True)
        ):
            np.testing.assert_array_equal(got.weights, want.weights, err_msg=f"layer {index}")

        # An inference in between, with the weights as they are now; cycles as without learning.
        samples = samples_of(rng, config, network, 4)
        inference, cycles = simulation.infer(samples)
        wanted = golden.infer(learned, samples)
        rows = ((samples <= wanted.step[:, None]) & (samples != NEVER) & has_row).sum(axis=1)
        wanted = replace(wanted, rows=np.column_stack([rows, wanted.rows[:, 1:]]))
        require_equal(wanted, inference, learned)
        if (learned.layers[0].weights.any(axis=1) == has_row).all():
            assert (cycles == predict(config, learned, samples, wanted)).all()
        rule = rule_of(rng, config, network.steps)


def replace_regions(image, regions):
    return Image(image.config, image.registers, regions)


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
    config = config_of([18, 12, 5], [4, 5], neuron="sum", bits=8)
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
