"""What ``import firstspike`` gives, and when it is imported."""

import subprocess
import sys

import firstspike
import pytest


def run(script):
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", firstspike.__all__)
def test_every_name_is_there(name):
    assert name in dir(firstspike)
    run(f"from firstspike import {name}; import firstspike; assert firstspike.{name} is {name}")


@pytest.mark.parametrize("first", ["firstspike.compile", "firstspike.device", "firstspike.cli"])
def test_compile_is_the_function_whatever_was_imported_before(first):
    run(
        f"import {first}, firstspike, firstspike.compile as compile\n"
        "from firstspike.compile import compile as same\n"
        "assert firstspike.compile is compile is same"
    )


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'firstspike' has no attribute 'compil'"):
        _ = firstspike.compil


def test_the_command_line_begins_with_next_to_nothing():
    """So that Ctrl-C is caught from the start."""
    run(
        "import sys\n"
        "before = set(sys.modules)\n"
        "import firstspike.cli\n"
        "ours = {name for name in sys.modules if name.startswith('firstspike')}\n"
        "assert ours == {'firstspike', 'firstspike.cli', 'firstspike.firmware', "
        "'firstspike.firmware.errors'}, ours\n"
        "assert not {'numpy', 'argparse'} & (set(sys.modules) - before)"
    )
