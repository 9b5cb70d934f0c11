# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# `make test EXTRAS=dev,bench` adds the peers that two tests and the benchmarks compare with.
EXTRAS ?= dev
comma := ,
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: install demo test check cover build docs clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $(STAMP)

demo: install
	$(BIN)/probe demo

test: install check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

cover: install
	$(BIN)/python -m pip install --quiet -c constraints.txt coverage
	$(BIN)/coverage run -m pytest && $(BIN)/coverage report

# The gallery and the screenshots of README.md, from the run of `make demo`.
docs: install
	test -f runs/demo/report/report.html || $(BIN)/probe demo
	$(BIN)/probe report runs/demo
	$(BIN)/python docs/scripts/gallery.py runs/demo

build: install
	$(BIN)/python -m pip install --quiet -c constraints.txt build
	$(BIN)/python -m build

clean:
	rm -rf build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
