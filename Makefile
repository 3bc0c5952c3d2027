# make run    set everything up and open the window (without a display: a report and a picture of it)
# make test   set everything up and run every check
# More: make setup | lint | unit | compiled | digest | published | experiments | wheel | bench | lock | install-helper | clean

SCENARIO ?= aged-file-server
SEED     ?= 7
OUT      ?= build/run
BIN      := .venv/bin

.PHONY: run test setup setup-run lint unit compiled digest published experiments wheel bench lock install-helper clean

run: setup-run
ifneq ($(DISPLAY)$(WAYLAND_DISPLAY),)
	$(BIN)/memviz $(SCENARIO)
else
	@env -u QT_QPA_PLATFORM $(BIN)/memviz $(SCENARIO) --seed $(SEED) --folder $(OUT)
endif

test: lint unit digest published

setup-run:
	@packaging/setup.sh run

setup:
	@packaging/setup.sh test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: setup
	$(BIN)/pytest

# memviz with memviz/kernel compiled by mypyc, beside the checkout: build/compiled/memviz
compiled: setup
	$(BIN)/python packaging/compile.py

# The compiled build must give the same digests as the source.
digest: setup
	@if command -v gcc >/dev/null; then \
		$(MAKE) --no-print-directory compiled && \
		PYTHONSAFEPATH=1 PYTHONPATH=build/compiled MEMVIZ_EXPECT=compiled $(BIN)/pytest -m digest; \
	else echo "digest: skipped, no C compiler here: sudo apt-get install gcc"; fi

# README and reports must say what the results of the experiments say; nothing is run again.
PUBLISHED := reliable-high-order from-the-start
published: setup
	@for name in $(PUBLISHED); do \
		$(BIN)/memviz experiment $$name --check docs/experiments --readme README.md || exit 1; done

# Every figure of README and reports anew (minutes; compiled): what has been computed already is not computed again.
experiments: compiled
	@for name in $(PUBLISHED); do PYTHONSAFEPATH=1 PYTHONPATH=build/compiled \
		$(BIN)/memviz experiment $$name -o docs/experiments --readme README.md || exit 1; done

wheel: setup
	$(BIN)/python -m build --wheel --no-isolation

bench: setup
	$(BIN)/python -m benchmarks

# Newest versions that pyproject.toml allows; the order of the two matters.
lock: setup
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile -q --upgrade -o requirements.lock pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile -q --upgrade --extra dev -c requirements.lock \
		-o requirements-dev.lock pyproject.toml

# What lets the window read this machine's memory map through polkit, without being root
install-helper:
	@if [ "$$(id -u)" = 0 ]; then packaging/install-helper.sh; else sudo packaging/install-helper.sh; fi

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
