"""What holds for every test."""

import signal

import pytest
from firstspike.firmware.files import cache_home

# A shell starts background jobs with SIGINT ignored, and they hand that on to what they start; the
# tests of Ctrl-C need it as a terminal gives it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, empty but for what tools compile of themselves."""
    shared = cache_home()
    cache = tmp_path / "cache"
    cache.mkdir()
    for tool in ("YoWASP", "wasmtime"):
        (shared / tool).mkdir(parents=True, exist_ok=True)
        (cache / tool).symlink_to(shared / tool)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache
