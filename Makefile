# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
# Both make their own virtual environment in .venv from requirements.lock.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: typing lint

# The folder names differ from the import name; the type checker gets a tree in which they do not.
typing:
	@mkdir -p build/typing/firstspike
	@ln -sfn $(CURDIR)/host/* build/typing/firstspike/
	@ln -sfn $(CURDIR)/firmware $(CURDIR)/hdl $(CURDIR)/sim $(CURDIR)/boards build/typing/firstspike/
	MYPYPATH=build/typing mypy -p firstspike
