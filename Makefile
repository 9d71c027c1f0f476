# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
# Each makes its own virtual environment from pyproject.toml, at the versions of requirements.lock.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint typing lock clean

demo: $(VENV)/demo.done
	$(BIN)/firstspike demo

# A process for each core; the tests of a file stay together, since they share what was built for it.
test: $(VENV)/dev.done
	$(BIN)/pytest -n auto --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) typing MYPY=$(BIN)/mypy

# The folder names differ from the import name; the type checker gets a tree in which they do not.
MYPY ?= mypy
typing:
	@rm -rf build/typing && mkdir -p build/typing/firstspike
	@ln -s $(CURDIR)/host/* $(CURDIR)/firmware $(CURDIR)/hdl $(CURDIR)/sim $(CURDIR)/boards \
	  build/typing/firstspike/
	MYPYPATH=build/typing $(MYPY) -p firstspike

# A stamp for each set of extras, so that the demo need not wait for what only the tests use.
$(VENV)/demo.done: EXTRAS := sim,plot,digits
$(VENV)/dev.done:  EXTRAS := dev
$(VENV)/%.done: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[$(EXTRAS)]'
	@touch $@

# Resolves everything anew in a fresh environment and writes down what that gave. PyTorch stays at
# one version on purpose: shipped networks are reproducible to the bit only with the same kernels.
TORCH := torch==2.13.0
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check $(TORCH) '.[dev,boards,bench]'
	build/lock/bin/pip freeze --exclude firstspike | sed 's/+cpu$$//' > requirements.lock

clean:
	rm -rf build out $(VENV)
