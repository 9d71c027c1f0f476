"""Errors of hidden neurons from votes, against sums in Python; where errors are kept."""

import numpy as np
import pytest
from core_driver import simulate
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.errors import ErrorKind, ErrorMemory
from firstspike.hdl.popcount import Popcount

#: Hidden neurons and their lanes, outputs and theirs.
SHAPES = [(1, 1, 1, 1), (5, 5, 10, 10), (12, 4, 7, 2), (9, 8, 17, 17), (20, 8, 6, 1)]


def config_of(hidden, hidden_lanes, outputs, lanes):
    return Config(
        [LayerConfig(3, hidden, hidden_lanes), LayerConfig(hidden, outputs, lanes)],
        32,
        learning=True,
    )


def kind_of(total):
    if total == 0:
        return ErrorKind.FIRED
    return ErrorKind.EARLIER if total > 0 else ErrorKind.LATER


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_sign_of_the_votes_reaches_the_neuron(shape):
    hidden, hidden_lanes, _, lanes = shape
    config = config_of(*shape)
    rng = np.random.default_rng(shape)
    dut = Popcount(config, 1)
    groups = config.layers[1].groups
    rows = [
        (int(rng.integers(hidden)), int(rng.integers(32)), rng.integers(-1, 2, (groups, lanes)))
        for _ in range(60)
    ]
    # All of one sign is the largest sum.
    rows += [(hidden - 1, 31, np.full((groups, lanes), sign)) for sign in (1, -1, 0)]
    for _, _, votes in rows:
        # Lanes without a neuron do not vote.
        votes.reshape(-1)[config.outputs :] = 0
    seen = []

    async def bench(ctx):
        async def tick():
            await ctx.tick()
            if enable := ctx.get(dut.o.enable):
                lane = enable.bit_length() - 1
                assert enable == 1 << lane
                error = dut.o.errors[lane]
                where = ctx.get(dut.o.group) * hidden_lanes + lane
                seen.append((where, ctx.get(error.when), ctx.get(error.kind)))

        for index, arrival, votes in rows:
            for group in range(groups):
                ctx.set(dut.valid, 1)
                ctx.set(dut.closes, group == groups - 1)
                ctx.set(dut.index, index)
                ctx.set(dut.arrival, arrival)
                for lane in range(lanes):
                    ctx.set(dut.votes[lane], int(votes[group, lane]))
                await tick()
                ctx.set(dut.valid, 0)
                for _ in range(int(rng.integers(2))):
                    await tick()
        for _ in range(dut.latency):
            await tick()

    simulate(dut, bench)
    assert seen == [(index, arrival, kind_of(votes.sum())) for index, arrival, votes in rows]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_errors_are_kept_lane_by_lane(shape):
    config = config_of(*shape)
    layer = config.layers[0]
    rng = np.random.default_rng(shape)
    dut = ErrorMemory(config, 0)
    kept = [[None] * layer.lanes for _ in range(layer.groups)]

    async def bench(ctx):
        for number in range(80):
            group = number % layer.groups
            # Everything once, then parts.
            enable = -1 if number < layer.groups else int(rng.integers(1 << layer.lanes))
            enable &= (1 << layer.lanes) - 1
            ctx.set(dut.i.enable, enable)
            ctx.set(dut.i.group, group)
            for lane, error in enumerate(dut.i.errors):
                kind, when = ErrorKind(int(rng.integers(4))), int(rng.integers(32))
                ctx.set(error.kind, kind)
                ctx.set(error.when, when)
                if enable >> lane & 1:
                    kept[group][lane] = (kind, when)
            await ctx.tick()
        ctx.set(dut.i.enable, 0)
        for group in range(layer.groups):
            ctx.set(dut.group, group)
            await ctx.tick()
            found = [(ctx.get(error.kind), ctx.get(error.when)) for error in dut.o]
            assert found == kept[group]

    simulate(dut, bench)
