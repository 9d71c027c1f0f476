"""Calls of the command line that are wrong: each ends with one sentence and its exit code."""

import subprocess
import sys

import numpy as np
import pytest

DIGITS = "digits-64-32-10"

pytest.importorskip("sklearn")


pytestmark = pytest.mark.usefixtures("folder")


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


@pytest.fixture
def files(folder):
    """Float weights, labels that run far, and a file that describes nothing."""
    random = np.random.default_rng(1)
    np.savez("weights.npz", weights_0=random.normal(0, 0.2, (64, 10)).astype(np.float32))
    images = random.integers(0, 255, (12, 8, 8), dtype=np.uint8)
    labels = np.array([20, *range(11)])
    np.savez("far.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    folder.joinpath("empty.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        # What would be ignored
        (["compile", DIGITS, "--baud", "9600"], 3, "--baud goes with --port"),
        (
            ["compile", DIGITS, "--board", "ulx3s-85f", "--ways", "4"],
            3,
            "--ways and --board were given, but the board says what is built; leave --ways out",
        ),
        (["compile", DIGITS, "--port", "model:", "--learning"], 3, "--learning and --port were"),
        (
            ["compile", DIGITS, "--config", "empty.json", "--neuron", "sum"],
            3,
            "--neuron and --config were given",
        ),
        (["verify", "--random", "1", "--lanes", "3"], 3, "--lanes was given with --random"),
        (["verify", "--random", "1", "--ways", "2"], 3, "--ways was given with --random"),
        (["verify", "--random", "1", "--config", "x"], 3, "--config was given with --random"),
        (
            ["plot", "steps", DIGITS, "--sample", "3", "-o", "x.png"],
            3,
            "--sample goes with raster and encoding, but steps shows all samples; leave it out",
        ),
        (
            ["quantise", "weights.npz", "--rows", "5", "-o", "x.npz"],
            3,
            "--rows goes with a network, but weights.npz holds float weights",
        ),
        (
            ["quantise", DIGITS, "--k", "3", "--dataset", "digits", "-o", "x.npz"],
            3,
            f"--dataset goes with --rows where {DIGITS} is a network already",
        ),
        # Names and numbers
        (
            ["quantise", "weights.npz", "--dataset", "mnits", "-o", "x.npz"],
            3,
            "there is no data set mnits (did you mean mnist?)",
        ),
        (
            ["quantise", DIGITS, "--rows", "9999", "-o", "x.npz"],
            3,
            f"9999 weight rows were to be kept, but {DIGITS} has ",
        ),
        (
            ["quantise", "weights.npz", "--encoding", "linear,lvls=3", "-o", "x.npz"],
            3,
            "the encoding linear has no parameter lvls (did you mean levels?)",
        ),
        (
            ["report", DIGITS, "--dataset", "far.npz"],
            3,
            "labels run to 20, but the network has 10 outputs; choose another data set",
        ),
        (["demo", "--dataset", "mnits"], 3, "there is no data set mnits (did you mean mnist?)"),
        (["demo", "--network", "mnits"], 4, "mnits is no file and no network"),
        (
            ["simulate", DIGITS, "--ways", "32", "--lanes", "32,4"],
            3,
            "--ways 32 needs a lane for each neuron of the last layer: 10 instead of 4",
        ),
        (
            ["simulate", DIGITS, "--config", "empty.json"],
            4,
            'empty.json is not an accelerator configuration (it has no "layers")',
        ),
        (
            ["simulate", DIGITS, "--lanes", "1,2,3"],
            3,
            "the network has 2 layers; give one for all layers or one for each",
        ),
        (
            ["compile", "mnist-784-600-10", "--board", "icebreaker"],
            6,
            "kbit of weights, but icebreaker has at most 1144 kbit of memory; quantise",
        ),
        (["build", "--board", "icebraker"], 6, "no board icebraker (did you mean icebreaker?)"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, code, sentence, fail, files):
    before = set(files.iterdir())
    given, told = fail(*arguments)
    assert sentence in told
    assert given == code
    assert set(files.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--set", "epochs=abc"], 3, "epochs is abc, but it is a whole number"),
        (["--set", "hidden=300"], 3, "hidden is 300, but it is a list of whole numbers, such as"),
        (["--set", "learning_rate=fast"], 3, "learning_rate is fast, but it is a number"),
        (["-o", "x", "--checkpoint", "./x"], 1, "x was given for two files"),
        (["--checkpoint", f"{DIGITS}.npz"], 1, f"{DIGITS}.npz was given for two files"),
    ],
)
def test_training_that_cannot_begin(arguments, code, sentence, fail, folder):
    pytest.importorskip("torch")
    given, told = fail("train", DIGITS, *arguments)
    assert given == code
    assert sentence in told
    assert not list(folder.iterdir())
