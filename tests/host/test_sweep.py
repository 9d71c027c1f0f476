"""Sweeps: points side by side, what is kept, what ends them."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from firstspike import cli, plots
from firstspike.firmware.errors import BuildError, DataError, FirstspikeError, ModelFileError
from firstspike.shipped import load_network
from firstspike.sweep import RECORD, Outcome, Point, Settings, Sweep, run, variant
from firstspike.sweep import measure as sweep_measure
from made_builds import DIGITS, measure


def points(*lanes, bits=8):
    return [Point(DIGITS, bits, count) for count in lanes]


@pytest.fixture
def settings(tmp_path):
    """Settings whose board is a log of the points that were measured."""
    (tmp_path / "log").touch()
    return Settings(str(tmp_path / "log"), 200_000_000)


@pytest.fixture
def measured(settings):
    return lambda: sorted(map(int, Path(settings.board).read_text().split()))


def test_points_come_back_in_order(settings, measured, tmp_path):
    told = []
    sweep = run(settings, points(3, 1, 6, 2), tmp_path / "s", jobs=2, progress=told.append,
                measure=measure)  # fmt: skip
    assert [outcome.point.lanes for outcome in sweep.outcomes] == [3, 1, 6, 2]
    assert measured() == [1, 2, 3, 6]
    assert told.count("8 bits, 3 lanes: begun") == 1
    assert "8 bits, 3 lanes: 3000 LUT, 33.3 MHz, 10.00 µs, 98.00 %" in told
    assert "8 bits, 6 lanes: it takes 9 block RAMs, but there are 8" in told
    assert json.loads((tmp_path / "s" / RECORD).read_text())["constraint_hz"] == 200_000_000


def test_finished_points_are_kept(settings, measured, tmp_path):
    run(settings, points(1, 6), tmp_path, measure=measure)
    told = []
    sweep = run(settings, points(6, 2, 1), tmp_path, progress=told.append, measure=measure)
    assert measured() == [1, 2, 6]
    assert told[0] == "2 of 3 points are there already"
    assert [bool(outcome.error) for outcome in sweep.outcomes] == [True, False, False]
    assert len(Sweep.load(tmp_path / RECORD).outcomes) == 3
    run(settings, points(1, 6), tmp_path, again=True, measure=measure)
    assert measured() == [1, 2, 6, 6]


def test_points_run_side_by_side(settings, tmp_path):
    told = []
    run(settings, points(1, 2, 3), tmp_path, jobs=3, progress=told.append, measure=measure)
    assert all(sentence.endswith("begun") for sentence in told[:3])


@pytest.mark.parametrize(
    ("lanes", "kind", "sentence"),
    [(7, FirstspikeError, "the disk is full"), (8, BuildError, r"exit code 9.* --jobs 1")],
)
def test_other_errors_end_the_sweep(settings, tmp_path, lanes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        run(settings, points(1, lanes, 2), tmp_path, measure=measure)
    assert [outcome.point.lanes for outcome in Sweep.load(tmp_path / RECORD).outcomes] == [1]
    # It is not a result of the point, so that it is tried again.
    sweep = run(settings, points(1, 2), tmp_path, measure=measure)
    assert not any(outcome.error for outcome in sweep.outcomes)


def test_an_interrupt_keeps_what_is_finished(settings, measured, tmp_path):
    def interrupt():
        while 9 not in measured():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(settings, points(1, 9), tmp_path, measure=measure)
    thread.join()
    assert time.monotonic() - start < 30
    assert [outcome.point.lanes for outcome in Sweep.load(tmp_path / RECORD).outcomes] == [1]


def test_another_sweep_is_not_overwritten(settings, tmp_path):
    run(settings, points(1), tmp_path, measure=measure)
    before = (tmp_path / RECORD).read_text()
    other = Settings(settings.board, 200_000_000, seed=2)
    with pytest.raises(DataError, match="holds a sweep with seed 1, but 2 was asked for"):
        run(other, points(1), tmp_path, measure=measure)
    assert (tmp_path / RECORD).read_text() == before
    for text in ("", "[]", "{}", '{"points": [{}]}'):
        (tmp_path / RECORD).write_text(text)
        with pytest.raises(ModelFileError, match="holds no sweep"):
            run(settings, points(1), tmp_path, measure=measure)
    with pytest.raises(FirstspikeError, match="cannot be made"):
        run(settings, points(1), tmp_path / RECORD, measure=measure)


def test_variants():
    assert variant("mnist-784-600-10", 8) == "mnist-784-600-10"
    assert variant("mnist-784-600-10", 4) == "mnist-784-600-10-4bit"
    assert variant("mnist-784-600-10", 2) == "mnist-784-600-10-ternary"
    with pytest.raises(
        DataError, match="3-bit weights, but there are networks with 2, 4 and 8 bits; "
    ):
        variant("mnist-784-600-10", 3)
    with pytest.raises(DataError, match="3-bit weights, but there is one with 8 bits; choose"):
        variant("mnist-784-128-10-grey", 3)
    with pytest.raises(ModelFileError, match="is no file"):
        variant("mnist-784", 8)


@pytest.fixture
def sweep(settings):
    asked = [*points(1, 2, 3), *points(1, 6, bits=4)]
    return Sweep(settings, [measure(settings, point) for point in asked])


def test_table(sweep):
    rows = sweep.table()
    assert rows[1] == (
        *("8", "1", "1000", "500", "8"),
        *("100.0", "1000.0", "10.00", "98.00 %", "1.5 min"),
    )
    assert rows[-1] == ("4", "6", *["–"] * 8)
    text = sweep.to_text()
    assert text.endswith("4 bits, 6 lanes: it takes 9 block RAMs, but there are 8")
    assert "for 200 MHz, seed 1" in text
    markdown = sweep.to_markdown().splitlines()
    assert markdown[1] == "|---" * 10 + "|"
    assert markdown[2] == "| 8 | 1 | 1000 | 500 | 8 | 100.0 | 1000.0 | 10.00 | 98.00 % | 1.5 min |"


def test_picture_and_page(sweep, tmp_path):
    pytest.importorskip("matplotlib")
    figure = plots.sweep(sweep)
    area, clock, latency = figure.axes
    drawn = {line.get_label(): line for line in area.get_lines()}
    assert list(drawn["8 bits, 98.00 %"].get_xdata()) == [1, 2, 3]
    assert list(drawn["8 bits, 98.00 %"].get_ydata()) == [1, 2, 3]
    assert clock.get_ylabel() == "Fmax in MHz"
    assert latency.get_yscale() == "log"
    # What does not fit is crossed in every panel.
    crosses = [line for line in area.get_lines() if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[], [6]]
    sweep.save(tmp_path / "sweep.html")
    sweep.save(tmp_path / "sweep.md")
    assert (tmp_path / "sweep.html").read_text().count("<svg") == 1


def test_outcomes_without_any_build(settings):
    outcome = Outcome(Point(DIGITS, 8, 600), error="it does not fit")
    sweep = Sweep(settings, [outcome])
    assert "it does not fit" in sweep.to_text()
    pytest.importorskip("matplotlib")
    assert "<svg" in sweep.to_html()


def test_a_network_of_unknown_images_is_not_built(tmp_path):
    path = tmp_path / "network.npz"
    replace(load_network(DIGITS), meta={}).save(path)
    with pytest.raises(DataError, match="does not say its dataset"):
        sweep_measure(Settings("ulx3s-25f", 200_000_000), Point(str(path), 8, 4))


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--board", "ulx3s"], 6, "there is no board ulx3s"),
        (["--bits", "5"], 3, f"{DIGITS} was asked for with 5-bit weights"),
        (["--model", "digits"], 4, "digits is no file"),
        (["--lanes", "3,0"], 2, "0 is not a whole number of at least 1"),
        (["--ways", "3"], 2, "3 is not a power of two"),
    ],
)
def test_errors_of_the_command(tmp_path, capsys, arguments, code, sentence):
    usual = {"--board": "ulx3s-25f", "--model": DIGITS, "--lanes": "4", "-o": str(tmp_path)}
    usual |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    try:
        actual = cli.main(["sweep", *(part for pair in usual.items() for part in pair)])
    except SystemExit as stop:
        actual = stop.code
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert actual == code
