"""Budgets: every record keeps to its own, and every budget has a record."""

import json
import re
from dataclasses import asdict, replace

import pytest
from firstspike import boards
from firstspike.boards.board import Resources
from firstspike.boards.budget import RECORDS, Budget, budgets
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError
from firstspike.shipped import names

BUDGET = Budget(
    "icebreaker",
    "digits-64-32-10",
    (4, 10),
    ways=1,
    clock_hz=21_000_000,
    constraint_hz=25_000_000,
    seed=1,
    resources=Resources(luts=4000, ffs=2000, block_rams=20, carries=900),
    fmax_hz=21_000_000,
)
USED = Resources(luts=3900, ffs=2000, block_rams=20, carries=100)


def test_within():
    assert BUDGET.name == "icebreaker_digits-64-32-10_4"
    assert replace(BUDGET, learning=True).name == "icebreaker_digits-64-32-10_4_learning"
    assert BUDGET.excesses(USED, 21e6) == []


@pytest.mark.parametrize(
    ("changes", "fmax", "sentence"),
    [
        ({"luts": 4001}, 21e6, "takes 4001 LUTs, but its budget is 4000"),
        ({"ffs": 2001}, 21e6, "takes 2001 flip-flops, but its budget is 2000"),
        ({"block_rams": 21}, 21e6, "takes 21 block RAMs, but its budget is 20"),
        ({"block_rams": 19}, 21e6, "19 block RAMs where its budget expects 20, so a memory may"),
        ({"distributed_rams": 1}, 21e6, "takes 1 LUT RAMs, but its budget is 0"),
        ({}, 20.99e6, "reaches 20.99 MHz, but its budget is 21 MHz"),
    ],
)
def test_excesses(changes, fmax, sentence):
    (said,) = BUDGET.excesses(replace(USED, **changes), fmax)
    assert said.startswith(BUDGET.name)
    assert sentence in said


@pytest.mark.parametrize("text", ["", "{}x", "[{}]", '[{"lanes": [1], "resources": {"lut": 1}}]'])
def test_a_damaged_file(tmp_path, text):
    (tmp_path / "budgets.json").write_text(text)
    with pytest.raises(DataError, match="holds no budgets"):
        budgets(tmp_path / "budgets.json")


def test_names_tell_budgets_apart():
    found = [budget.name for budget in budgets()]
    assert len(set(found)) == len(found)


def test_every_record_has_a_budget():
    assert {path.stem for path in RECORDS.glob("*")} == {budget.name for budget in budgets()}


@pytest.mark.parametrize("budget", budgets(), ids=lambda budget: budget.name)
def test_recorded_builds(budget):
    text = (RECORDS / f"{budget.name}.json").read_text()
    record = json.loads(text)
    build = record["build"]
    used = Resources(**build["used"])
    assert budget.excesses(used, build["fmax_hz"]) == []
    assert (build["board"], record["network"]["name"]) == (budget.board, budget.network)
    assert budget.network in names()
    config = Config.from_json(json.dumps(build["config"]))
    assert tuple(layer.lanes for layer in config.layers) == budget.lanes
    assert config.learning == budget.learning
    assert build["constraint_hz"] == budget.constraint_hz
    assert build["seed"] == budget.seed
    assert build["available"] == asdict(boards.load(budget.board).resources)
    assert not re.search(r'"[^"]*(/(home|root|tmp|usr|work)|[A-Z]:\\)', text)
