"""The C sources: current, and clean with every compiler that firmware is built with."""

import importlib.util
import re
import subprocess
import sys

import pytest
from c_driver import C_FOLDER, SOURCES, STRICT, compiler
from driver_case import IMAGE
from firstspike.compile import compile
from firstspike.firmware.c_header import PATH, c_header
from firstspike.firmware.packed import c_source, pack
from firstspike.shipped import load_network

TARGETS = {
    "cortex-m0+": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus"),
    "cortex-m4": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4"),
    "rv32": ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c"),
    "big-endian": ("-target", "powerpc-freestanding-none"),
    "16-bit": ("-target", "msp430-freestanding-none"),
    "64-bit": ("-target", "x86_64-linux-gnu"),
}


def test_the_header_is_current():
    assert PATH.read_text() == c_header(), "run python -m firstspike.firmware.c_header"


def test_the_header_in_numbers():
    text = c_header()
    assert "#define FIRSTSPIKE_PROTOCOL_VERSION 4\n" in text
    assert "    FIRSTSPIKE_INFER_BITMAP = 0x07,\n" in text
    assert "#define FIRSTSPIKE_REGISTER_THRESHOLD(layer) (0x10u + (layer))\n" in text
    assert "#define FIRSTSPIKE_HELLO_DIGEST 8\n" in text
    assert "#define FIRSTSPIKE_HELLO_BYTES 44\n" in text
    assert "#define FIRSTSPIKE_OUTCOME_BYTES 10\n" in text
    assert "    STATUS(NO_MODEL, 10, \\\n" in text
    assert "#define FIRSTSPIKE_STEP_WORD 0x8000u" in text


@pytest.mark.parametrize("optimise", ["-O0", "-Os", "-O3"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_system_compiler(source, optimise, tmp_path):
    command = [compiler(), *STRICT, optimise, "-c", source, "-o", tmp_path / "out.o"]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_clang(target, tmp_path):
    pytest.importorskip("ziglang", reason="there is no cross compiler; pip install ziglang")
    for source in SOURCES:
        command = [sys.executable, "-m", "ziglang", "cc", *target, *STRICT, "-Os", "-c", source]
        subprocess.run([*command, "-o", tmp_path / "out.o"], check=True, timeout=120)


def test_a_program_in_cplusplus(tmp_path):
    """It includes the header as it is, and links with the driver, which was compiled as C."""
    objects = []
    for path in SOURCES:
        objects.append(tmp_path / f"{path.stem}.o")
        command = [compiler(), "-std=c99", "-c", path, "-o", objects[-1]]
        subprocess.run(command, check=True, timeout=60)
    (tmp_path / "model.h").write_text(c_source(IMAGE, "model"))
    source, program = tmp_path / "user.cpp", tmp_path / "user"
    source.write_text(
        '#include "firstspike.h"\n#include "model.h"\n'
        "static bool send(void *, const uint8_t *, size_t) { return false; }\n"
        "static size_t receive(void *, uint8_t *, size_t, uint32_t) { return 0; }\n"
        "static uint32_t milliseconds(void *) { return 0; }\n"
        "int main() {\n"
        "    firstspike device;\n"
        "    const firstspike_port port = {send, receive, milliseconds, nullptr};\n"
        "    firstspike_init(&device, &port);\n"
        "    if (firstspike_crc32(0, model, 0) != 0)\n"
        "        return 1;\n"
        "    return firstspike_connect(&device, MODEL_DIGEST) == FIRSTSPIKE_LINE_LOST ? 0 : 2;\n"
        "}\n"
    )
    strict = ("-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    command = ["c++", *strict, f"-I{C_FOLDER}", source, *objects, "-o", program]
    subprocess.run(command, check=True, timeout=60)
    subprocess.run([program], check=True, timeout=60)


@pytest.mark.parametrize(
    "size",
    ["MAX_IN_FLIGHT=0", "MAX_IN_FLIGHT=129", "MAX_IN_FLIGHT=1000", "LAYERS=0", "LAYERS=17"],
)
def test_sizes_that_are_refused(size):
    command = [compiler(), *STRICT, f"-DFIRSTSPIKE_{size}", "-fsyntax-only", *SOURCES]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode
    name = size.partition("=")[0]
    assert f"FIRSTSPIKE_{name}: 1 to " in result.stderr


@pytest.mark.parametrize("size", ["MAX_IN_FLIGHT=1", "MAX_IN_FLIGHT=128", "LAYERS=1", "LAYERS=16"])
def test_sizes_at_their_ends(size):
    command = [compiler(), *STRICT, f"-DFIRSTSPIKE_{size}", "-fsyntax-only", *SOURCES]
    subprocess.run(command, check=True, timeout=60)


def test_nothing_but_the_freestanding_headers():
    for path in [*SOURCES, *C_FOLDER.glob("*.h")]:
        included = re.findall(r"#include <(.*)>", path.read_text())
        assert set(included) <= {"stdbool.h", "stddef.h", "stdint.h"}, path.name


def test_a_model_as_c(tmp_path):
    """The array holds the packed model, byte for byte."""
    (tmp_path / "model.h").write_text(c_source(IMAGE, "8x8 digits"))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void) {\n'
        "fwrite(model_8x8_digits, 1, sizeof model_8x8_digits, stdout);\n"
        "return MODEL_8X8_DIGITS_CRC == 0 || MODEL_8X8_DIGITS_DIGEST == 0;\n}\n"
    )
    program = tmp_path / "main"
    strict = ("-std=c99", "-Wall", "-Wpedantic", "-Werror")
    command = [compiler(), *strict, tmp_path / "main.c", "-o", program]
    subprocess.run(command, check=True, timeout=60)
    assert subprocess.run([program], capture_output=True, check=True).stdout == pack(IMAGE)


def test_the_document(tmp_path):
    """Its example compiles, with the model that it names; and it has every call."""
    page = (C_FOLDER.parents[1] / "docs" / "c-driver.md").read_text()
    example, _, _ = page.partition("```c\n")[2].partition("```")
    image = compile(load_network("digits-64-32-10"))
    (tmp_path / "digits.h").write_text(c_source(image, "digits-64-32-10"))
    (tmp_path / "example.c").write_text(
        example
        + "enum firstspike_error start(void);\nenum firstspike_error classify(uint16_t *label);\n"
    )
    command = [compiler(), *STRICT, "-Wno-missing-prototypes", f"-I{C_FOLDER}", "-fsyntax-only"]
    subprocess.run([*command, tmp_path / "example.c"], check=True, timeout=60)
    calls = re.findall(r"\b(firstspike_\w+)\(", (C_FOLDER / "firstspike.h").read_text())
    assert {call for call in calls if call not in page} == set()


@pytest.fixture(scope="module")
def driver_size():
    """The benchmark that measures it, as a module."""
    for package in ("ziglang", "elftools"):
        pytest.importorskip(package, reason="pip install ziglang pyelftools")
    path = C_FOLDER.parents[1] / "bench" / "driver_size.py"
    specification = importlib.util.spec_from_file_location("driver_size", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules["driver_size"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["Cortex-M0+", "Cortex-M3", "Cortex-M4", "RV32IMC"])
def test_the_sizes_in_the_document(driver_size, name):
    """The compiler is that of requirements.lock; another one gives others."""
    page = (C_FOLDER.parents[1] / "docs" / "c-driver.md").read_text()
    (stated,) = re.findall(rf"^\| {re.escape(name)} \|.*$", page, re.MULTILINE)
    measured = driver_size.row(name, driver_size.measure(driver_size.TARGETS[name]))
    assert stated == measured, "run python bench/driver_size.py"
