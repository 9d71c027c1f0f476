"""Firmware of a microcontroller that classifies images on a device, run in an emulator.

Builds the program of ``firmware/c/examples`` with the C driver, a model and test images of its data
set, for an Arm Cortex-M3 or a 32-bit RISC-V, bare metal. Runs it in QEMU with its UART connected to
a virtual board, which is the golden model or the compiled gateware, and compares every answer that
the firmware prints with the golden model's.

    python examples/microcontroller.py                    # Cortex-M3, the 8×8 digits
    python examples/microcontroller.py --machine riscv --engine sim: --images 20
    python examples/microcontroller.py --network mnist-784-600-10 --images 100

It needs the compiler (``pip install ziglang``) and QEMU (Debian: ``apt-get install qemu-system-arm
qemu-system-misc``).
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from firstspike import data
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import BuildError, DataError, FirstspikeError, Mismatch
from firstspike.firmware.image import Image
from firstspike.firmware.packed import c_source
from firstspike.firmware.protocol import Op, encode_sample
from firstspike.shipped import load_network
from firstspike.sim import fast
from firstspike.sim.pty import PseudoTerminal
from firstspike.sim.result import Inference
from firstspike.transport import VIRTUAL, open_virtual

DRIVER = Path(__file__).parents[1] / "firmware" / "c"
PROGRAM = DRIVER / "examples"

#: Seconds after which the emulator is ended.
PATIENCE = 300

CODINGS = {Op.INFER_BITMAP: "FIRSTSPIKE_BITMAP", Op.INFER_SPIKES: "FIRSTSPIKE_SPIKES"}


@dataclass(frozen=True)
class Machine:
    """A microcontroller: where its files are, how it is compiled for and emulated."""

    folder: str
    target: tuple[str, ...]
    emulator: tuple[str, ...]


MACHINES = {
    "cortex-m": Machine(
        "cortex_m",
        ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m3"),
        ("qemu-system-arm", "-M", "mps2-an385"),
    ),
    "riscv": Machine(
        "riscv",
        ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c", "-mcmodel=medany"),
        ("qemu-system-riscv32", "-M", "virt", "-bios", "none"),
    ),
}


def samples_source(samples: np.ndarray) -> str:
    """A C header with samples as the driver takes them."""
    lines = ['#include "firstspike.h"', ""]
    entries = []
    for index, (op, payload) in enumerate(map(encode_sample, samples)):
        # C has no arrays of no elements.
        text = ", ".join(map(str, payload or b"\0"))
        lines.append(f"static const uint8_t sample_{index}[] = {{{text}}};")
        entries.append(f"    {{{CODINGS[op]}, sample_{index}, {len(payload)}}},")
    return "\n".join(
        [
            *lines,
            "",
            f"#define SAMPLE_COUNT {len(samples)}",
            "static const struct firstspike_sample samples[SAMPLE_COUNT] = {",
            *entries,
            "};",
            "",
        ]
    )


def finish(
    command: Sequence[str], what: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Raises
    ------
    BuildError
        If it does not end in time.
    """
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(
            f"{what} has not ended after {PATIENCE} s; give it fewer images or a smaller network"
        ) from error


def build(machine: Machine, image: Image, samples: np.ndarray, folder: Path) -> Path:
    """Compile the firmware into a program for the emulator.

    Raises
    ------
    BuildError
        If the compiler is missing or fails.
    """
    layers = f"\n#define MODEL_LAYERS {len(image.config.layers)}\n"
    (folder / "model.h").write_text(c_source(image, "model") + layers)
    (folder / "samples.h").write_text(samples_source(samples))
    program = folder / "firmware.elf"
    command = [
        *(sys.executable, "-m", "ziglang", "cc", *machine.target, "-std=c99", "-Os"),
        *("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffunction-sections"),
        *(f"-I{folder}", f"-I{DRIVER}", f"-I{PROGRAM}", f"-I{PROGRAM / machine.folder}"),
        *(f"-Wl,-T,{machine.folder}/memory.ld", "-Wl,--gc-sections", "-o", str(program)),
        *map(str, sorted(DRIVER.glob("*.c"))),
        *map(str, sorted(PROGRAM.glob("*.c"))),
        *map(str, sorted((PROGRAM / machine.folder).glob("*.c"))),
    ]
    # The linker looks for what a script includes in the folder that it runs in.
    result = finish(command, "the compiler", cwd=PROGRAM)
    if result.returncode:
        if "No module named ziglang" in result.stderr:
            raise BuildError("the firmware needs a compiler; pip install ziglang")
        raise BuildError(f"the firmware cannot be compiled: {result.stderr.strip()}")
    return program


def emulate(machine: Machine, program: Path, port: str) -> list[str]:
    """Run the firmware with its UART at ``port`` and return what it prints.

    Raises
    ------
    BuildError
        If the emulator is missing, or the firmware does not end.
    Mismatch
        If the firmware fails.
    """
    name, *arguments = machine.emulator
    if not shutil.which(name):
        raise BuildError(
            f"the firmware runs in {name}, which is not installed; on Debian, apt-get install "
            "qemu-system-arm qemu-system-misc"
        )
    command = [
        *(name, *arguments, "-kernel", str(program), "-serial", port, "-monitor", "none"),
        *("-display", "none", "-semihosting-config", "enable=on,target=native"),
    ]
    result = finish(command, f"the firmware in {name}")
    # Semihosting prints on either, depending on the emulator's version.
    printed = (result.stdout + result.stderr).splitlines()
    if result.returncode:
        raise Mismatch(f"the firmware fails: {printed[-1] if printed else 'it prints nothing'}")
    return printed


def check(printed: Sequence[str], expected: Inference) -> None:
    """Compare what the firmware printed with what the golden model says of the images.

    Raises
    ------
    Mismatch
        If an answer differs.
    """
    pattern = re.compile(r"label (\d+) step (\d+) (fired|silent) rows ([\d ]+)")
    answers = [match.groups() for line in printed if (match := pattern.fullmatch(line))]
    if len(answers) != len(expected):
        raise Mismatch(f"the firmware printed {len(answers)} answers for {len(expected)} images")
    for index, (label, step, fired, rows) in enumerate(answers):
        found = (int(label), int(step), fired == "fired", tuple(map(int, rows.split())))
        wanted = (
            *(int(expected.label[index]), int(expected.step[index]), bool(expected.fired[index])),
            tuple(expected.rows[index].tolist()),
        )
        if found != wanted:
            raise Mismatch(f"image {index}: the firmware says {found}, the golden model {wanted}")


def run(machine_name: str, network_name: str, engine: str, images: int) -> str:
    """Build, emulate and compare; return what was done in a sentence.

    Raises
    ------
    FirstspikeError
        If something is missing or an answer is wrong.
    """
    machine = MACHINES[machine_name]
    network = load_network(network_name)
    image = compile(network, Config.for_network(network))
    samples, labels, dataset = data.encode_test_images(network)
    if not 0 < images <= len(samples):
        raise DataError(f"{images} images were asked for, but the range is 1 to {len(samples)}")
    samples = samples[:images]
    # Before the firmware waits for a device that has the same to compile.
    expected = fast.infer(image.network(), samples)
    with tempfile.TemporaryDirectory() as folder:
        program = build(machine, image, samples, Path(folder))
        start = time.monotonic()
        with PseudoTerminal(open_virtual(engine, image.config)) as terminal:
            printed = emulate(machine, program, terminal.path)
        seconds = time.monotonic() - start
    check(printed, expected)
    right = sum(f"label {label} " in line for label, line in zip(labels, printed, strict=False))
    return (
        f"{machine_name}: self-test, model and {images} images of {dataset} over {engine} in "
        f"{seconds:.1f} s; every answer as the golden model's, {right} of the labels right"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machine", choices=MACHINES, default="cortex-m")
    parser.add_argument("--network", default="digits-64-32-10", help="a network by file or name")
    parser.add_argument("--engine", choices=VIRTUAL, default="model:", help="the virtual board")
    parser.add_argument("--images", type=int, default=50)
    options = parser.parse_args()
    try:
        print(run(options.machine, options.network, options.engine, options.images))
    except FirstspikeError as error:
        sys.exit(f"microcontroller: {error}")


if __name__ == "__main__":
    main()
