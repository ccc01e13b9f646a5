# The two commands a newcomer needs are `make demo` and `make test`; both set up everything they use.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# Where pip finds torch besides PyPI, for example https://download.pytorch.org/whl/cpu for a build without CUDA.
TORCH_INDEX ?=
ASSETS ?= procedural
# Extra words for `vosforge demo`, for example ARGS="--video path/to/JPEGImages/480p/car".
ARGS ?=

.PHONY: help demo test test-all bench bench-loading bench-remote lint setup clean

help:
	@echo "make demo   [ASSETS=sweethome3d] [ARGS=...]  set up, then render, train a little, segment, report"
	@echo "make test                                    set up, then lint, types, import rules and the quick tests"
	@echo "make test-all                                the slow tests as well"
	@echo "make bench                                   the benchmarks: what the README's figures come from"
	@echo "make clean                                   remove the virtual environment and the runs"

demo: setup
ifneq ($(ASSETS),procedural)
	$(BIN)/vosforge assets install $(ASSETS)
endif
	$(BIN)/vosforge demo --assets $(ASSETS) $(ARGS)

test: setup lint
	@sh tools/system_libraries.sh --browser
	$(BIN)/pytest -m "not slow and not gpu"

test-all: setup lint
	@sh tools/system_libraries.sh --browser
	$(BIN)/pytest

bench: bench-loading bench-remote

bench-loading: setup
	$(BIN)/python -m benchmarks.loading

bench-remote: setup
	$(BIN)/python -m benchmarks.remote_loading

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/.ready
	@sh tools/system_libraries.sh

$(VENV)/.ready: pyproject.toml requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "VOSForge needs Python 3.11 (Blender's module is built for it): install python3.11 and python3.11-venv, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11: name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: install python3.11-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info
