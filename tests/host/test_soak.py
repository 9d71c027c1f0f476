"""A soak finds what is wrong, counts what was right, and ends when it should."""

import contextlib
import itertools
import json
import time

import firstspike
import numpy as np
import pytest
from firstspike import cli
from firstspike.device import Device
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DeviceReset, LinkError, Mismatch, NoReply
from firstspike.sim.faults import FaultyLine
from firstspike.sim.random_networks import random_case
from firstspike.soak import Soak, Work, batches, random_work, soak

CASE = random_case(3)
LEARNING = Config.for_network(CASE.network, [4] * len(CASE.config.layers), learning=True)

#: Everything that can happen to a line, and to a device at its end.
EVERYTHING = (
    "flip=4e-5,drop=3e-4,insert=3e-4,duplicate=3e-4,burst=5e-5,lose=5e-3,repeat=5e-3,stall=1e-4,"
    "pause=0.05,unplug=1e-4,reset=3e-5,brownout=2e-5"
)


def open_device(config=CASE.config, faults=None, seed=0, **options):
    line = None if faults is None else FaultyLine(faults, seed=seed)
    return firstspike.open("model:", config=config, line=line, **options)


def test_samples_are_counted():
    with open_device() as device:
        report = soak(device, random_work(device, 1), samples=500)
    assert (report.rounds, report.samples, report.learned) == (3, 500, 0)
    assert report.counters["inferences"] == 500
    assert report.counters["frames_damaged"] == 0


def test_time_ends_it():
    done = []
    with open_device() as device:
        start = time.monotonic()
        report = soak(device, random_work(device, 1), duration=0.5, progress=done.append)
    assert 0.5 <= report.seconds < time.monotonic() - start + 0.01
    assert sum(done) == report.samples > 0


def test_batches_of_one_network_come_again_and_again():
    samples = np.repeat(CASE.samples, 70, axis=0)
    labels = np.arange(len(samples))
    parts = list(itertools.islice(batches(CASE.network, samples, labels, 7), 7))
    assert [len(part.samples) for part in parts] == [200, 200, 160] * 2 + [200]
    assert [part.seed for part in parts] == list(range(7, 14))
    assert parts[5].name == "samples 400 to 559, seed 12"
    assert (np.concatenate([part.labels for part in parts[:3]]) == labels).all()
    assert (parts[3].samples == parts[0].samples).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("config", [CASE.config, LEARNING], ids=["infers", "learns"])
def test_whatever_happens_on_the_line_nothing_is_wrong(config, seed):
    with open_device(config, EVERYTHING, seed, timeout=0.02, retries=20) as device:
        report = soak(device, random_work(device, seed), samples=1000)
        statistics = device.statistics
    assert report.samples == 1000
    assert statistics.retries > 20
    assert statistics.reconnections + statistics.resets > 0
    if config.learning:
        assert report.weights > 0
        assert report.learned == 200 * (report.rounds - report.lost)


def test_a_wrong_answer_is_found(monkeypatch):
    infer = Device.infer

    def careless(self, samples, **options):
        result = infer(self, samples, **options)
        result.step[7] += 1
        return result

    monkeypatch.setattr(Device, "infer", careless)
    report = Soak()
    with (
        open_device() as device,
        pytest.raises(Mismatch, match="network of seed 1: sample 7: the golden model"),
    ):
        soak(device, random_work(device, 1), samples=500, report=report)
    assert report.samples == 0
    assert report.counters["inferences"] == 200


def test_a_failure_shows_again_with_its_seed(monkeypatch):
    """Whatever came before, the network of a seed is taught in the same way."""
    rules = []

    def learn(self, samples, labels, rule, start):
        rules.append((rule, start))
        return learn_well(self, samples, labels, rule, start)

    learn_well = Device.learn
    monkeypatch.setattr(Device, "learn", learn)
    for first, samples in ((1, 600), (3, 200)):
        with open_device(LEARNING) as device:
            soak(device, random_work(device, first), samples=samples)
    assert rules[2] == rules[3] != rules[1]


def test_a_reset_that_nobody_noticed_is_none(monkeypatch):
    def liar(self, *arguments):
        raise DeviceReset("it says so")

    monkeypatch.setattr(Device, "learn", liar)
    report = Soak()
    with open_device(LEARNING) as device, pytest.raises(DeviceReset, match="it says so"):
        soak(device, random_work(device, 1), samples=600, report=report)
    assert (report.lost, report.samples) == (0, 200)


def test_resets_that_leave_nothing_learned_are_an_error(monkeypatch):
    def luckless(self, *arguments):
        self.statistics.resets += 1
        raise DeviceReset("it was reset")

    monkeypatch.setattr(Device, "learn", luckless)
    report = Soak()
    with (
        open_device(LEARNING) as device,
        pytest.raises(LinkError, match="reset in every one of 3 rounds"),
    ):
        soak(device, random_work(device, 1), samples=600, report=report)
    assert (report.lost, report.samples) == (3, 600)


def test_a_weight_that_was_learned_wrongly_is_found(monkeypatch):
    learn = Device.learn

    def careless(self, samples, labels, rule, start):
        result = learn(self, samples, labels, rule, start)
        name = "weights_0"
        held = bytearray(self.read_memory(name))
        model = self.read_register("model")
        held[0] ^= 1
        image = self.image
        self.write_memory(name, bytes(held))
        self.write_register("model", model)
        self._loaded.image, self._loaded.mark = image, model
        return result

    monkeypatch.setattr(Device, "learn", careless)
    with (
        open_device(LEARNING) as device,
        pytest.raises(Mismatch, match=r"1 of \d+ weights of layer 0 differ"),
    ):
        soak(device, random_work(device, 1), samples=200)


def test_a_line_that_is_too_bad_is_an_error():
    line = FaultyLine("stall=1e-4,pause=1000")
    with (
        firstspike.open("model:", config=CASE.config, line=line) as device,
        pytest.raises(NoReply, match="stopped answering"),
    ):
        soak(device, random_work(device, 1), samples=5000)


def test_work_of_ones_own():
    work = Work(CASE.network, CASE.samples, np.zeros(len(CASE.samples), np.int64))
    with open_device() as device:
        report = soak(device, iter([work]))
    assert (report.rounds, report.samples) == (1, len(CASE.samples))


# The command


def run(capsys, *arguments):
    code = cli.main(["soak", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_passes(capsys):
    arguments = ("model:", "--samples", "400", "--faults", "flip=3e-5", "--json")
    code, out, _ = run(capsys, *arguments)
    values = json.loads(out)
    assert (code, values["passed"], values["samples"], values["rounds"]) == (0, True, 400, 2)
    assert values["faults"]["flip"] > 10
    assert values["link"]["retries"] > 0
    assert values["counters"]["inferences"] >= 400
    again = json.loads(run(capsys, *arguments)[1])
    assert {**again, "seconds": 0} == {**values, "seconds": 0}


def test_the_command_learns(capsys):
    code, out, _ = run(capsys, "model:", "--samples", "200", "--learning")
    assert code == 0
    assert "learning  200 samples" in out
    assert out.endswith("model: passes\n")


def test_the_command_takes_a_network(capsys):
    pytest.importorskip("sklearn")
    code, out, _ = run(capsys, "model:", "digits-64-32-10", "--samples", "700")
    assert code == 0
    assert "answers   700 in 4 rounds" in out


def test_the_command_tells_what_is_wrong_and_how_to_see_it_again(capsys, monkeypatch):
    infer = Device.infer

    def careless(self, samples, **options):
        result = infer(self, samples, **options)
        result.step[0] += self.counters()["inferences"] > 200
        return result

    monkeypatch.setattr(Device, "infer", careless)
    code, out, err = run(capsys, "model:", "--seed", "5")
    assert code == 7
    assert err.startswith("firstspike: network of seed 6: sample 0: the golden model has step ")
    assert "answers   200 in 1 rounds" in out
    assert "until then as the models'" in out
    assert "400 inferences" in out
    assert "received; no errors" in out
    values = json.loads(run(capsys, "model:", "--seed", "5", "--json")[1])
    assert values["passed"] is False
    assert values["error"].startswith("network of seed 6: ")


def test_the_command_reports_when_it_is_interrupted(capsys, monkeypatch):
    infer = Device.infer

    def interrupted(self, samples, **options):
        if self.counters()["inferences"] == 400:
            raise KeyboardInterrupt
        return infer(self, samples, **options)

    monkeypatch.setattr(Device, "infer", interrupted)
    code, out, err = run(capsys, "model:", "--duration", "3600")
    assert (code, err) == (130, "firstspike: interrupted\n")
    assert "answers   400 in 2 rounds" in out
    assert "400 inferences" in out
    assert out.endswith("model: was interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["digits-64-32-10"], 3, "as in `firstspike soak model: digits-64-32-10`"),
        (["--dataset", "nosuch"], 3, "--dataset needs a network"),
        (["/dev/ttyFIRSTSPIKE", "--learning"], 3, "/dev/ttyFIRSTSPIKE is built already"),
        (["--seed", "-1"], 2, "whole number of at least 0"),
        (["--faults", "flip=1,flip=0"], 3, "flip is given twice"),
        (["--faults", "pause=5"], 3, "no stall is given"),
    ],
)
def test_arguments_that_would_have_no_effect_are_refused(capsys, arguments, code, sentence):
    with pytest.raises(SystemExit) if code == 2 else contextlib.nullcontext():
        assert cli.main(["soak", *arguments]) == code
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_the_command_fails(capsys):
    code, out, err = run(capsys, "model:", "--faults", "stall=1e-4,pause=1000")
    assert code == 8
    assert out.endswith("model: fails\n")
    assert err.startswith("firstspike: ")
    assert len(err.splitlines()) == 1
