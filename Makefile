# Two commands stand alone on a fresh machine with Python 3.11+ and make: `make demo` and `make test`.
# Both make .venv first; the stamp file keeps a second call from doing it again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Most of a test's time is waiting (for processes, servers, commits): more workers than a small machine has cores.
WORKERS ?= 4
export UV_PYTHON_DOWNLOADS := never
export UV_COMPILE_BYTECODE := 1
export UV_LINK_MODE := copy
export DO_NOT_TRACK := 1
# Where it is set, every process compiles every module again: a fifth of the time of all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench bench-hot bench-collector bench-mail serve torture setup lock clean

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -m compileall -q -j 0 cli flows models tasks web
	@touch $(STAMP)

demo: $(STAMP)  ## a seeded world through the whole chain, then stop
	@$(BIN)/warmline demo

test: $(STAMP)  ## every test, on SQLite and on a PostgreSQL that the tests start
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(STAMP)  ## lint, format, types, contracts between the packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)  ## the measured bars; SIZE=s ends within five minutes
	@$(BIN)/python -m benchmarks $(if $(SIZE),--size $(SIZE))

bench-hot: $(STAMP)  ## how soon an act that qualifies is with a salesperson, beside an import; ten minutes
	@$(BIN)/python -m benchmarks $(if $(SIZE),--size $(SIZE)) --only hot

bench-collector: $(STAMP)  ## how many events a second are kept, beside a bare endpoint; memory, overload; five minutes
	@$(BIN)/python -m benchmarks $(if $(SIZE),--size $(SIZE)) --only collector

bench-mail: $(STAMP)  ## the measured bars of mail alone; needs the package postfix
	@$(BIN)/python -m benchmarks $(if $(SIZE),--size $(SIZE)) --only mail

torture: $(STAMP)  ## the long forms: 20 kills on each database, 10,000 mutated models
	@$(BIN)/python -m pytest -m torture --override-ini "addopts=-ra --import-mode=importlib -p no:schemathesis"

serve: $(STAMP)  ## everything on one machine: Prefect server, schedules, UI
	@$(BIN)/warmline -w demo-workspace serve

lock: $(STAMP)
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) demo-workspace .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
