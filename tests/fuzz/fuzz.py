"""Attack both ends of the link with bytes, and say what came of it.

    python tests/fuzz/fuzz.py                       a million frames and a million bytes each
    python tests/fuzz/fuzz.py --frames 20000 --target device --config learning --seed 7

The simulated gateware gets frames that are right, damaged, absurd, broken or none, and must answer
byte for byte as the model of the device does; the host gets answers of the same kinds. The first
difference ends the run, with the seed that shows it again. See docs/faults.md.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable

from device_fuzz import CONFIGS, NETWORK, DeviceFuzz
from firstspike.firmware.errors import FirstspikeError
from host_fuzz import DecoderFuzz, DeviceClientFuzz, ExchangeFuzz
from tqdm import tqdm

#: Frames for each session with a device that lies, which takes that much longer.
_SESSION = 50


def drain(what: str, total: int, steps: Iterable[int]) -> float:
    """Run an attack to its end; seconds that it took."""
    start = time.perf_counter()
    with tqdm(desc=what, total=total, disable=None) as bar:
        for done in steps:
            bar.update(done)
    return time.perf_counter() - start


def attack_device(name: str, frames: int, seed: int) -> dict[str, object]:
    """Attack the gateware of one configuration."""
    fuzz = DeviceFuzz(CONFIGS[name], seed)
    try:
        seconds = drain(f"{name}, bytes", frames, fuzz.noise(frames))
        seconds += drain(f"{name}, frames", frames, fuzz.run(frames))
    finally:
        fuzz.close()
    # Afterwards the counters of the two are no longer the same.
    flood = DeviceFuzz(CONFIGS[name], seed)
    try:
        seconds += drain(f"{name}, flood", frames // 10, flood.flood(frames // 10))
    finally:
        flood.close()
    careless = DeviceFuzz(CONFIGS[name], seed)
    try:
        seconds += drain(f"{name}, careless", frames // 10, careless.unspecified(frames // 10))
    finally:
        careless.close()
    return {
        "frames": fuzz.frames,
        "flood": flood.frames,
        "unspecified": careless.frames,
        "random_bytes": frames,
        "bytes": fuzz.bytes,
        "answers": dict(sorted(fuzz.statuses.items())),
        "seconds": seconds,
    }


def attack_host(frames: int, seed: int) -> dict[str, object]:
    """Attack the host's side of the link."""
    exchange = ExchangeFuzz(seed)
    seconds = drain("host, bytes", frames, exchange.noise(frames))
    seconds += drain("host, frames", frames, exchange.run(frames))
    config = CONFIGS["learning"]
    seconds += drain("decoders", frames // 10, DecoderFuzz(config, seed).run(frames // 10))
    client = DeviceClientFuzz(CONFIGS["plain"], NETWORK, seed)
    sessions = frames // _SESSION // 10
    seconds += drain("client", sessions, client.run(sessions))
    return {
        "frames": exchange.frames,
        "random_bytes": frames,
        "bytes": exchange.bytes,
        "answered": exchange.answered,
        "greetings": frames // 10,
        "sessions": sessions,
        "absurd_answers": client.frames,
        "errors": exchange.errors | client.errors,
        "seconds": seconds,
    }


def in_words(value: object) -> str:
    """A figure, or several by name."""
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {kind}" for kind, count in value.items())
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000, help="and as many random bytes")
    parser.add_argument("--target", choices=("device", "host"), help="default: both")
    parser.add_argument("--config", choices=CONFIGS, help="of the device; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    try:
        if arguments.target != "host":
            for name in [arguments.config] if arguments.config else CONFIGS:
                found[name] = attack_device(name, arguments.frames, arguments.seed)
        if arguments.target != "device":
            found["host"] = attack_host(arguments.frames, arguments.seed)
    except FirstspikeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if arguments.json:
        print(json.dumps(found))
        return 0
    for name, figures in found.items():
        print(name)
        for key, value in figures.items():
            print(f"  {key:<16} {in_words(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
