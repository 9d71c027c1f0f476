"""The examples run, and write what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_adapt(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    script = EXAMPLES / "adapt.py"
    result = subprocess.run(
        [sys.executable, script, "--quick", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    curves = {curve["name"]: curve for curve in json.loads((tmp_path / "adapt.json").read_text())}
    rotated = curves["rotated by 60°"]["accuracy"]
    assert rotated[0] < 0.4
    assert rotated[-1] > 0.85
    assert curves["new class 9"]["accuracy"][0] < 0.1
    assert curves["new class 9"]["accuracy"][-1] > 0.6
    assert (tmp_path / "adapt.txt").read_text() == result.stdout
    assert (tmp_path / "adapt.png").read_bytes().startswith(b"\x89PNG")
