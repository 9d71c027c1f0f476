"""Runs in the simulator: the core, through its streams and its memory port."""

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly
from design import image, network, samples
from firstspike.firmware.formats import NEVER
from firstspike.hdl.memory_window import FETCH_CYCLES
from firstspike.hdl.token import event_layout, result_layout
from firstspike.sim.golden import infer

EVENT = event_layout(image.config)
RESULT = result_layout(image.config)


async def tick(dut, cycles: int = 1) -> None:
    """To the middle of a later cycle, where inputs change."""
    for _ in range(cycles):
        await FallingEdge(dut.clk)


async def load(dut) -> None:
    """Fill the memories and set the registers."""
    dut.steps.value = image.registers["steps"]
    dut.classes.value = image.registers["classes"]
    for index in range(len(network.layers)):
        getattr(dut, f"thresholds__{index}").value = image.registers[f"threshold_{index}"]
    for number, region in enumerate(image.config.regions):
        dut.memory__region.value = number
        contents = image.regions[region.name]
        for word in range(region.words):
            dut.memory__word.value = word
            dut.memory__shift.value = 1
            for byte in contents[word * region.lanes : (word + 1) * region.lanes]:
                dut.memory__byte.value = byte
                await tick(dut)
            dut.memory__shift.value = 0
            dut.memory__store.value = 1
            await tick(dut)
            dut.memory__store.value = 0
            await tick(dut, FETCH_CYCLES)


def events(sample: np.ndarray) -> list[dict[str, int]]:
    """The spikes of a sample by step, and its end."""
    order = [int(index) for index in np.argsort(sample, kind="stable") if sample[index] != NEVER]
    spikes = [{"end": 0, "step": int(sample[index]), "index": index} for index in order]
    return [*spikes, {"end": 1, "step": 0, "index": 0}]


async def send(dut, items: list[dict[str, int]], rng: random.Random) -> None:
    """Offer events with random pauses."""
    for item in items:
        while rng.random() < 0.3:
            await tick(dut)
        dut.i__payload.value = EVENT.const(item).as_value().value
        dut.i__valid.value = 1
        taken = False
        while not taken:
            await ReadOnly()
            taken = bool(dut.i__ready.value)
            await tick(dut)
        dut.i__valid.value = 0


async def receive(dut, count: int, rng: random.Random) -> list:
    """Take results with random pauses."""
    results = []
    while len(results) < count:
        ready = rng.random() < 0.3
        dut.o__ready.value = ready
        await ReadOnly()
        if ready and dut.o__valid.value:
            results.append(RESULT.from_bits(int(dut.o__payload.value)))
        await tick(dut)
    dut.o__ready.value = 0
    return results


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def agrees_with_the_golden_model(dut):
    rng = random.Random(6)
    for name in ("i__valid", "o__ready", "memory__shift", "memory__store", "memory__fetch"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    await tick(dut, 3)
    dut.rst.value = 0
    await load(dut)
    inputs = samples(60, seed=6)
    expected = infer(network, inputs)
    cocotb.start_soon(send(dut, [event for sample in inputs for event in events(sample)], rng))
    results = await receive(dut, len(inputs), random.Random(7))
    for index, result in enumerate(results):
        assert (result.label, result.step, bool(result.fired)) == (
            expected.label[index],
            expected.step[index],
            expected.fired[index],
        ), f"sample {index}"
        assert list(result.rows) == expected.rows[index].tolist(), f"sample {index}"
