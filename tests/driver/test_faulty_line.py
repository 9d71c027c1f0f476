"""The C driver over a bad cable: answers and learned weights are those of the golden models."""

from collections import Counter

import pytest
from c_driver import Refused
from driver_case import (
    ADDRESS,
    IMAGE,
    PACKED,
    check_learned,
    check_outcomes,
    make_simulation,
    refusal,
    start_learning,
)
from firstspike.sim import golden
from firstspike.sim.faults import Faults, FaultyTransport
from firstspike.sim.learner import Learner
from firstspike.sim.virtual_board import ModelBackend
from small_learner import CONFIG, NETWORK, RULE, START, make_samples

BACKENDS = {"model": ModelBackend, "gateware": make_simulation}

FAULTS = {
    "flips": Faults(flip=2e-4),
    "drops": Faults(drop=2e-3),
    "duplicates": Faults(duplicate=2e-3),
    "strangers": Faults(insert=2e-3),
    "bursts": Faults(burst=5e-4),
    "lost frames": Faults(lose=0.05),
    "repeated frames": Faults(repeat=0.05),
    "stalls": Faults(stall=3e-4, pause=0.7),
    "everything": Faults(
        flip=5e-5, drop=2e-4, duplicate=2e-4, insert=2e-4, burst=1e-4, lose=0.01, repeat=0.02
    ),
}


def over(faults, seed, *, to_device=True):
    """A cable with faults in both directions, or in that to the host alone."""

    def cable(board):
        there = faults if to_device else Faults()
        return FaultyTransport(board, to_device=there, to_host=faults, seed=seed)

    return cable


def use_everything(driver):
    """Load, infer and learn over a bad line; every byte has to be right in the end."""
    driver.load(PACKED, 64)
    driver.verify(PACKED)
    samples, labels = make_samples(150)
    for count in (1, 150):
        check_outcomes(driver.infer(samples[:count]), golden.infer(NETWORK, samples[:count]))
    start_learning(driver)
    learner = Learner(NETWORK, RULE, START)
    expected = learner.learn(samples, labels)
    outcomes = driver.learn(samples, labels)
    for index, outcome in enumerate(outcomes):
        # Where the answer got lost, the sample was learned all the same.
        if not outcome.repeated:
            assert outcome.label == expected.label[index]
            assert outcome.step == expected.step[index]
    check_learned(driver, learner)
    return sum(outcome.repeated for outcome in outcomes)


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("seed", range(3))
def test_faults(open_driver, faults, seed):
    driver = open_driver(cable=over(faults, seed), connect=False)
    driver.call("limits", 500, 20, 8)
    driver.connect(CONFIG.digest)
    use_everything(driver)
    resent, _ = driver.troubles()
    assert sum(driver.transport.injected.values()) > 3
    assert resent > 0 or faults.repeat or faults.stall


@pytest.mark.parametrize("in_flight", [1, 8])
def test_faults_on_the_gateware(open_driver, in_flight):
    backend = make_simulation(CONFIG)
    driver = open_driver(backend, over(FAULTS["everything"], 4), connect=False)
    driver.call("limits", 500, 20, in_flight)
    driver.connect(CONFIG.digest)
    use_everything(driver)
    assert driver.troubles()[0] > 0


def test_answers_that_get_lost_are_told(open_driver):
    driver = open_driver(cable=over(Faults(lose=0.1), 1, to_device=False), connect=False)
    driver.call("limits", 500, 20, 8)
    driver.connect()
    repeated = use_everything(driver)
    assert 0 < repeated < 75


def test_a_time_out_that_is_too_short(open_driver):
    """Answers come twice, and after requests were sent again."""
    driver = open_driver(latency=0.01)
    driver.call("limits", 8, 8, 8)
    use_everything(driver)
    assert driver.troubles()[0] > 20


def test_silence(open_driver):
    driver = open_driver(cable=over(Faults(), 0))
    driver.transport.silent = True
    start = driver.elapsed
    assert refusal(driver.read_register, 0) == "NO_ANSWER"
    # Eight retries, each after half a second; then the connection has to be made anew.
    assert driver.elapsed - start == pytest.approx(9 * 0.5, abs=0.1)
    assert refusal(driver.read_register, 0) == "NOT_CONNECTED"
    assert refusal(driver.load, PACKED) == "NOT_CONNECTED"
    assert refusal(driver.connect) == "NO_ANSWER"
    driver.transport.silent = False
    driver.connect()
    driver.load(PACKED)


def test_an_echo_is_no_device(open_driver):
    class Echo:
        """A line whose far end is open: what is sent comes back."""

        def __init__(self, board):
            self.board = board
            self.echo = b""

        @property
        def use(self):
            return self.board.use

        def write(self, data):
            self.echo += data

        def read(self, timeout):
            data, self.echo = self.echo, b""
            self.board.read(timeout)
            return data

    driver = open_driver(cable=Echo, connect=False)
    assert refusal(driver.connect) == "NO_ANSWER"


@pytest.mark.parametrize("kind", ["brownout", "reset"])
@pytest.mark.parametrize("make_backend", BACKENDS.values(), ids=BACKENDS)
def test_a_device_that_is_reset(open_driver, make_backend, kind):
    """No answer ever comes from weights other than those meant."""
    cable = over(Faults(**{kind: 3e-4}), 3)
    driver = open_driver(make_backend(CONFIG), cable, connect=False)
    driver.call("limits", 500, 20, 8)
    driver.connect()
    load_persistently(driver)
    samples, _ = make_samples(40)
    expected = golden.infer(NETWORK, samples)
    ends = Counter()
    for _ in range(40):
        try:
            outcomes = driver.infer(samples)
        except Refused as refused:
            ends[refused.name] += 1
            load_persistently(driver)
        else:
            ends["OK"] += 1
            check_outcomes(outcomes, expected)
    assert set(ends) == {"OK", "NO_MODEL"}
    assert min(ends.values()) > 5


def load_persistently(driver):
    """Load until there was no reset meanwhile."""
    errors = []
    while len(errors) < 20:
        try:
            driver.load(PACKED)
            break
        except Refused as refused:
            errors.append(refused.name)
    assert len(errors) < 20
    assert set(errors) <= {"WRONG_MEMORY", "WRONG_REGISTER"}


@pytest.mark.parametrize("make_backend", BACKENDS.values(), ids=BACKENDS)
def test_power_that_is_lost_while_learning(open_driver, make_backend):
    """What was learned is lost with the power; the caller hears it and starts anew."""
    driver = open_driver(make_backend(CONFIG))
    driver.load(PACKED)
    start_learning(driver)
    samples, labels = make_samples(30)
    driver.learn(samples[:10], labels[:10])
    driver.transport.reset(power=True)
    assert refusal(driver.learn, samples[10:], labels[10:], 10) == "NO_MODEL"
    driver.load(PACKED)
    assert driver.read_register(ADDRESS["model"]) == IMAGE.crc
    start_learning(driver)
    learner = Learner(NETWORK, RULE, START)
    check_outcomes(driver.learn(samples, labels), learner.learn(samples, labels))
    check_learned(driver, learner)
