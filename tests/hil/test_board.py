"""What a board on a serial line has to do, whatever it was built for."""

import json

import firstspike
import numpy as np
import pytest
from firstspike import cli
from firstspike.exchange import Request
from firstspike.firmware.errors import CapacityError
from firstspike.firmware.protocol import PROTOCOL_VERSION, encode_sample
from firstspike.selftest import compare
from firstspike.sim.random_networks import random_case

#: Small, so that at least one of them fits most boards.
SHIPPED = ("digits-64-32-10", "mnist-784-128-10", "mnist-784-600-10-ternary")


def command(capsys, port, *words):
    """Run a command on the board and return what it prints as JSON."""
    baud = ["--baud", str(port["baud"])] if "baud" in port else []
    assert cli.main([*words, port["port"], *baud, "--json", "-q"]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_tells_what_it_is(port, capsys):
    told = command(capsys, port, "info")
    assert told["protocol"] == PROTOCOL_VERSION
    assert told["clock_hz"] > 0
    assert told["release"]
    assert int(told["build"], 16) >= 0
    assert firstspike.Config.from_json(json.dumps(told["config"])).digest == int(told["digest"], 16)


def test_it_passes_the_self_test(port, capsys):
    found = command(capsys, port, "selftest", "-n", "5", "--seed", "3")
    assert found["passed"]
    assert found["networks"] == 5
    assert found["samples"] == 5 * 32
    assert found["damaged"] == 0


def test_the_self_test_leaves_what_was_loaded(port, capsys):
    with firstspike.open(**port) as device:
        case = random_case(11, config=device.config, batch=16)
        image = device.load(case.network)
    command(capsys, port, "selftest", "-n", "1")
    with firstspike.open(**port) as device:
        assert device.read_register("model") == image.crc
        for region in device.config.regions:
            assert device.read_memory(region.name) == image.regions[region.name]
        compare(case.network, case.samples, device.infer(case.samples), device.config)


def test_it_goes_on_where_a_program_stopped(port):
    """A program that is gone in the middle of its requests leaves the board usable."""
    with firstspike.open(**port) as device:
        case = random_case(5, config=device.config, batch=64)
        model = device.load(case.network).crc
        requests = [Request(op, model, data) for op, data in map(encode_sample, case.samples)]
        answers = device.link.stream(requests)
        next(answers)
        answers.close()
    with firstspike.open(**port) as device:
        compare(case.network, case.samples, device.infer(case.samples), device.config)


def test_an_answer_depends_on_its_sample_alone(device):
    case = random_case(21, config=device.config, batch=24)
    device.load(case.network)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(24), 8))
    result = device.infer(case.samples[order])
    compare(case.network, case.samples[order], result, device.config)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks(device, name):
    """Random images: what matters is that board and model agree."""
    network = firstspike.load_network(name)
    try:
        device.load(network)
    except CapacityError as error:
        pytest.skip(f"not on this board: {error}")
    spikes = np.random.default_rng(1).random((100, network.inputs)) < 0.2
    samples = np.where(spikes, 0, -1).astype(np.int32)
    compare(network, samples, device.infer(samples), device.config)
