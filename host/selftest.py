"""The self-test of a device: link, memories and answers, for whatever it is built for."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .device import Device, Result
from .exchange import Request
from .firmware.config import Config, Region
from .firmware.errors import DeviceLost, LinkError, Mismatch, NoReply
from .firmware.network import Network
from .firmware.protocol import Op, Status, memory_address
from .firmware.registers import counter_differences, register_map, register_values

if TYPE_CHECKING:
    from .sim.result import Inference

__all__ = ["SelfTest", "compare", "patterns", "selftest"]

#: Requests of the link test.
_ROUNDS = 200

#: A number that names no model.
_MODEL = 0x5E1F7E57

#: Samples of each random network.
_BATCH = 32


@dataclass
class SelfTest:
    """What a self-test has found in order.

    Parameters
    ----------
    requests : int
        Requests that were answered.
    retries, damaged : int
        Frames that were sent again, and runs of bytes that were no frame.
    refused : int
        Wrong requests that were refused as they should be.
    memory_bytes : int
        Bytes in all memories, each written and read with every pattern.
    networks, samples : int
        Random networks, and answers that were compared.
    cycles : int
        Clock cycles of all samples.
    round_trip : float
        Seconds from a request to its answer, on average.
    bytes_a_second : float
        Read out of the memories, in one direction.
    images_a_second : float
        Of the random networks, over the link.
    """

    requests: int = 0
    retries: int = 0
    damaged: int = 0
    refused: int = 0
    memory_bytes: int = 0
    networks: int = 0
    samples: int = 0
    cycles: int = 0
    round_trip: float = 0.0
    bytes_a_second: float = 0.0
    images_a_second: float = 0.0


def selftest(
    device: Device,
    seeds: Iterable[int],
    report: SelfTest | None = None,
    *,
    progress: Callable[[str], object] = lambda text: None,
) -> SelfTest:
    """Test a device; what it was loaded with, it holds again afterwards.

    Parameters
    ----------
    device : Device
    seeds : iterable of int
        Of the random networks.
    report : SelfTest, optional
        Counts to go on from.
    progress : callable, optional
        Called with what is tested next.

    Raises
    ------
    Mismatch
        If a memory or an answer is wrong; the message says which and what it should be.
    LinkError
        If the line damages frames or the device answers a request as it should not.
    """
    report = report or SelfTest()
    saved = device.read_image() if device.read_register("model") else None
    counters, statistics = device.counters(), device.statistics
    earlier = (statistics.requests, statistics.retries, statistics.dropped)
    lost_device = False
    try:
        progress("link")
        _test_link(device, report)
        _test_refusals(device, report)
        _test_memories(device, report, progress)
        for seed in seeds:
            progress(f"network {seed}")
            _test_answers(device, seed, report)
    except (NoReply, DeviceLost):
        lost_device = True
        raise
    finally:
        if saved is not None and not lost_device:
            progress("loading what was there before")
            device.load(saved)
    report.requests += statistics.requests - earlier[0]
    report.retries += statistics.retries - earlier[1]
    report.damaged += statistics.dropped - earlier[2]
    happened = counter_differences(counters, device.counters())
    lost = sum(happened[name] for name in ("frames_damaged", "frames_overrun", "line_errors"))
    if lost or statistics.dropped > earlier[2]:
        raise LinkError(
            f"every answer of {device.port} was right, but {lost} frames or bytes to it and "
            f"{statistics.dropped - earlier[2]} from it were damaged on the line; lower the baud "
            "rate or check the cable"
        )
    return report


def compare(network: Network, samples: np.ndarray, result: Result, config: Config) -> "Inference":
    """Compare what a device said with golden model and cycle model.

    Parameters
    ----------
    network : Network
    samples : (batch, inputs) integers
        Spike steps.
    result : Result
    config : Config
        What the device is built for.

    Returns
    -------
    Inference
        What the golden model says.

    Raises
    ------
    Mismatch
        At the first sample in which they differ.
    """
    from .sim import fast
    from .sim.cycles import predict

    expected = fast.infer(network, samples)
    wanted = {name: getattr(expected, name) for name in ("label", "step", "fired", "rows")}
    wanted["cycles"] = predict(config, network, samples, expected)
    for name, ours in wanted.items():
        theirs = getattr(result, name)
        differs = (ours != theirs).reshape(len(ours), -1).any(axis=1)
        if differs.any():
            sample = int(differs.argmax())
            model = "cycle" if name == "cycles" else "golden"
            raise Mismatch(
                f"sample {sample}: the {model} model has {name} {ours[sample]}, the device "
                f"{theirs[sample]}; run `firstspike verify` on the network to see where they part"
            )
    return expected


def _test_link(device: Device, report: SelfTest) -> None:
    """Ask small things one by one, so that each waits for the one before."""
    before = device.counters()
    start = time.perf_counter()
    for _ in range(_ROUNDS):
        device.read_register("steps")
    report.round_trip = (time.perf_counter() - start) / _ROUNDS
    _check_count(device, "frames_accepted", before, _ROUNDS)


def _check_count(device: Device, name: str, before: dict[str, int], happened: int) -> None:
    """Raise LinkError unless a counter has risen by at least what happened."""
    more = counter_differences(before, device.counters())[name]
    if not happened <= more < 1 << 11:
        raise LinkError(
            f"{device.port} counts {more} more in {name} where there were {happened}; rebuild "
            "the bitstream with this release"
        )


def _test_refusals(device: Device, report: SelfTest) -> None:
    """Ask for what does not exist; nothing may change by it."""
    addresses = {name: address for name, address, _ in register_map(device.config)}
    longest = register_values(device.config)["steps"][-1]
    inputs = device.config.inputs
    end = memory_address(0, device.config.regions[0].words)
    one, beyond = (1).to_bytes(4, "little"), (longest + 1).to_bytes(4, "little")
    wrong = (
        (Request(Op.HELLO, payload=b"?"), Status.BAD_LENGTH),
        (Request(Op.READ_REGISTER, 0xFFFF), Status.BAD_ADDRESS),
        (Request(Op.WRITE_REGISTER, addresses["inferences"], one), Status.READ_ONLY),
        (Request(Op.WRITE_REGISTER, addresses["steps"], beyond), Status.BAD_VALUE),
        (Request(Op.MEMORY_CRC, end, one), Status.BAD_ADDRESS),
        (Request(Op.READ_MEMORY, memory_address(255, 0), one), Status.BAD_ADDRESS),
        (Request(Op.INFER_BITMAP, payload=bytes(-(-inputs // 8) + 1)), Status.BAD_LENGTH),
        (Request(Op.INFER_SPIKES, _MODEL + 1, beyond), Status.NO_MODEL),
        (Request(Op.INFER_SPIKES, _MODEL, inputs.to_bytes(2, "little")), Status.BAD_SAMPLE),
    )
    # What it holds is of no interest here; it is to say so.
    device.write_register("model", _MODEL)
    before = device.counters()
    for request, status in wrong:
        try:
            device.link.call(request)
        except LinkError as error:
            if status.sentence in str(error):
                continue
            raise
        raise LinkError(
            f"{device.port} does a wrong {request.op.name} instead of refusing it; rebuild the "
            "bitstream with this release"
        )
    device.write_register("model", 0)
    _check_count(device, "commands_refused", before, len(wrong))
    report.refused += len(wrong)


def patterns(region: Region) -> dict[str, np.ndarray]:
    """What is written to a region: (words, lanes) bytes as they read back, by name.

    Each bit is 0 and 1, differs from its neighbours, and no two words hold the same where the
    region's width allows, so that bits that stick and addresses that fold are found.
    """
    word, lane = np.ogrid[: region.words, : region.lanes]
    # Different in each lane, and in each word as far as a byte can tell; a narrow word has the
    # higher bits of its address in other lanes.
    numbers = word >> (region.bits * (lane % max(1, -(-24 // region.bits))))
    found = {
        "zeros": np.zeros((region.words, region.lanes), np.uint8),
        "chequers": np.where((word + lane) % 2, 0x55, 0xAA),
        "inverse chequers": np.where((word + lane) % 2, 0xAA, 0x55),
        "addresses": numbers + lane,
        "inverse addresses": ~(numbers + lane),
    }
    spare = 8 - region.bits
    kind = np.int8 if region.signed else np.uint8
    return {
        name: ((data & 0xFF).astype(np.uint8).view(kind) << spare >> spare).view(np.uint8)
        for name, data in found.items()
    }


def _test_memories(device: Device, report: SelfTest, progress: Callable[[str], object]) -> None:
    """Write every pattern to all memories before any is read, so that none covers another."""
    regions = device.config.regions
    prepared = {region.name: patterns(region) for region in regions}
    seconds = 0.0
    read = 0
    for pattern in prepared[regions[0].name]:
        progress(f"memories, {pattern}")
        for region in regions:
            device.write_memory(region.name, prepared[region.name][pattern].tobytes())
        for region in regions:
            start = time.perf_counter()
            held = device.read_memory(region.name)
            seconds += time.perf_counter() - start
            read += len(held)
            _check_memory(device, region, prepared[region.name][pattern], held)
    report.memory_bytes += sum(region.bytes for region in regions)
    report.bytes_a_second = read / seconds


def _check_memory(device: Device, region: Region, written: np.ndarray, held: bytes) -> None:
    """Raise Mismatch if a region holds something else, naming the first place."""
    found = np.frombuffer(held, np.uint8).reshape(written.shape)
    if (found == written).all():
        return
    places = np.argwhere(found != written)
    word, lane = places[0]
    raise Mismatch(
        f"{device.port} holds 0x{found[word, lane]:02x} in word {word}, lane {lane} of "
        f"{region.name}, but 0x{written[word, lane]:02x} was written, and {len(places)} of "
        f"{found.size} bytes differ; rebuild the bitstream for a lower clock or replace the board"
    )


def _test_answers(device: Device, seed: int, report: SelfTest) -> None:
    """Load the random network of ``seed`` and compare everything that is said of its samples."""
    from .sim.random_networks import random_case

    case = random_case(seed, config=device.config, batch=_BATCH)
    before = device.counters()
    try:
        image = device.load(case.network)
        for region in device.config.regions:
            if device.read_memory(region.name) != image.regions[region.name]:
                raise Mismatch(f"{region.name} reads back other bytes than were written")
        start = time.perf_counter()
        result = device.infer(case.samples)
        seconds = time.perf_counter() - start
        compare(case.network, case.samples, result, device.config)
    except Mismatch as error:
        raise Mismatch(f"network of seed {seed}: {error}") from error
    _check_count(device, "inferences", before, len(case.samples))
    busy = report.samples / report.images_a_second if report.images_a_second else 0.0
    report.networks += 1
    report.samples += len(case.samples)
    report.cycles += int(result.cycles.sum())
    report.images_a_second = report.samples / (busy + seconds)
