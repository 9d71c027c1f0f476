"""Inputs that the C driver is fuzzed with, and how its calls end.

    python bench/driver_fuzz.py                      a million inputs, some minutes
    python bench/driver_fuzz.py --inputs 20000 --seed 7

Compiles ``tests/driver/fuzz.c`` with the driver, the address sanitizer and that of undefined
behaviour. A finding ends the program with the sanitizer's report; the inputs are functions of the
seed. With clang, libFuzzer takes the same harness::

    clang -g -O1 -fsanitize=fuzzer,address,undefined -DLIBFUZZER -Ifirmware/c \\
        tests/driver/fuzz.c firmware/c/*.c -o fuzz && ./fuzz -max_len=400
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRIVER = ROOT / "firmware" / "c"

FLAGS = ("-std=c99", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compiler", default="cc", help="one with sanitizers (default: cc)")
    options = parser.parse_args()
    sources = [ROOT / "tests" / "driver" / "fuzz.c", *sorted(DRIVER.glob("*.c"))]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fuzz"
        command = [options.compiler, *FLAGS, f"-I{DRIVER}", *sources, "-o", program]
        subprocess.run(command, check=True)
        start = time.monotonic()
        result = subprocess.run([program, str(options.inputs), str(options.seed)], check=False)
    print(f"{time.monotonic() - start:.0f} s, exit status {result.returncode}")
    sys.exit(result.returncode)


if __name__ == "__main__":
    main()
