"""The examples of the Python API's page run, one after the other, as a reader would type them."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "host.md"


def test_examples_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "64-32-10, 8-bit weights, 64 steps"
    assert float(printed[1]) > 0.97
    assert {"10", "1438"} <= set(printed)
    assert printed[-1] == "True"
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.html",
        "raster.png",
        "learned.npz",
    }
