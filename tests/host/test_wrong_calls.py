"""Calls of the command line that are wrong: each ends with one sentence and its exit code."""

import subprocess
import sys

import pytest
from firstspike import cli

DIGITS = "digits-64-32-10"

pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, without an environment that changes errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIRSTSPIKE_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def fail(capsys):
    """Run a command that must fail; give its exit code and its one sentence."""

    def run_command(*arguments):
        try:
            code = cli.main(arguments)
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        lines = captured.err.strip().splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("firstspike")
        assert captured.out == ""
        return code, lines[0]

    return run_command


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["verify", DIGITS, "--lanez", "8"],
            2,
            "firstspike verify: there is no option --lanez (did you mean --lanes?); see firstspike "
            "verify --help",
        ),
        (["verify", DIGITS, "--lanez=8"], 2, "no option --lanez (did you mean --lanes?); see"),
        (["info", "--zzzzzz"], 2, "firstspike info: there is no option --zzzzzz; see firstspike"),
        (["verify", DIGITS, "8"], 2, "8 is one argument too many; see firstspike verify --help"),
        (["--json", "boards"], 2, "--json belongs after the name of the command; see firstspike"),
    ],
)
def test_arguments_that_no_command_knows(arguments, code, sentence, fail):
    given, told = fail(*arguments)
    assert given == code
    assert sentence in told


def test_interrupted_while_the_package_is_imported():
    """Numpy is imported after the command line has begun to watch for Ctrl-C."""
    script = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'numpy':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from firstspike.cli import main\n"
        "sys.exit(main(['info']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (130, "firstspike: interrupted\n")


@pytest.mark.parametrize("name", ["module", "endmodule", "1abc", "a b", "a\n", ""])
def test_export_under_a_name_that_verilog_has_not(name, fail, folder):
    pytest.importorskip("amaranth")
    code, told = fail("export", DIGITS, "--name", name, "-o", "a.v")
    assert code == 3
    assert "Verilog; choose" in told
    assert not list(folder.iterdir())


@pytest.mark.parametrize("part", ["accelerator", "serial"])
def test_export_with_a_clock_that_the_device_could_not_tell(part, fail):
    pytest.importorskip("amaranth")
    arguments = ("--part", part, "--clock", "4294967296", "--baud", "1")
    code, told = fail("export", DIGITS, *arguments, "-o", "a.v")
    assert code == 3
    assert "a clock of 4294967296 Hz was asked for" in told
    assert "choose one of at most 4294967295 Hz" in told
