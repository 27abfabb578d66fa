# make demo | make test | make lint | make bench | make docs    (see README)
# make wheel | make coverage | make constraints    (see CONTRIBUTING)
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Another build of torch: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
SOURCES := setup.cfg pyproject.toml constraints.txt

.PHONY: demo test lint bench docs wheel coverage constraints clean

demo: $(VENV)/.skebm-plot
	$(BIN)/python examples/demo.py

# Two workers share the cores: a thread each, or they wait for each other.
test: $(VENV)/.skebm-test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.skebm-lint
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

bench: $(VENV)/.skebm-test
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

docs: $(VENV)/.skebm-docs
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html

# Built, and installed into an empty environment that sees no sources.
wheel: $(VENV)/.skebm-torch
	$(PIP) build
	rm -rf build dist
	$(BIN)/python -m build --quiet
	rm -rf build/empty && $(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	build/empty/bin/python -m pip install --quiet dist/*.whl
	cd build && empty/bin/python -c "import skebm; \
	  print(skebm.EBMDensityEstimator(max_iter=1).fit([[0.0], [1.0], [3.0]]).sample(2))"

coverage: $(VENV)/.skebm-test
	$(PIP) pytest-cov
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal \
	  --cov skebm --cov-report term:skip-covered --cov-report html:build/coverage

# The newest versions, but of torch, which is renewed by hand.
constraints: $(VENV)/.skebm-test $(VENV)/.skebm-lint
	$(PIP) --upgrade $$(sed -n '/^torch/d; s/==.*//p' constraints.txt)
	$(BIN)/python -m pip list --format=freeze | sed 's/+.*//' > $(VENV)/.installed
	grep '^#' constraints.txt > $(VENV)/.newest
	sed -n 's/==.*//p' constraints.txt | while read name; do \
	  grep -i "^$$name==" $(VENV)/.installed; done >> $(VENV)/.newest
	cp $(VENV)/.newest constraints.txt

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first, so that TORCH_INDEX decides on its build; a torch at hand is kept.
$(VENV)/.skebm-torch: | $(BIN)/python
	$(BIN)/python -c "import torch" 2>/dev/null \
	  || $(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	touch $@

# Without the pin of torch, which would replace another build that is at hand.
$(VENV)/.skebm-%: $(VENV)/.skebm-torch $(SOURCES)
	grep -v '^torch' constraints.txt > $(VENV)/.constraints
	$(PIP) --constraint $(VENV)/.constraints --editable ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info examples/output docs/_build
