# Every target sets itself up: `make run` on a fresh clone is enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help run test lint slow faults notebooks report bench clean

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/'

$(READY): settings.ini setup.py constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# rows that are finished stay; 3: code or ratings have changed since, so all is done anew
RUN := $(PY) -m thu_big_data_ml run --data sample --output results
PAGE := nbs/big_data_analytics/matrix_decomposition.ipynb
run: $(READY) ## the whole experiment on real ratings: table, figures and the executed one-page notebook in results/
	@echo "Fifteen models on 100,004 real ratings, and beside them seven on one page: some three minutes on two cores."
	@mkdir -p results
	@$(PY) assets/execute_notebooks.py --to results/notebooks $(PAGE) > results/page.log 2>&1 & page=$$!; \
	$(RUN); table=$$?; if [ $$table -eq 3 ]; then $(RUN) --restart; table=$$?; fi; \
	wait $$page; code=$$?; cat results/page.log; exit $$((table + code))

JOBS ?= 2
# the tests of a file stay together: what they share is fitted once, and a kernel is compiled once
test: $(READY) ## notebooks and package agree, every test passes, every notebook runs and says what it stores; JOBS=2 at a time
	@echo "Tests, and then every notebook, $(JOBS) at a time: some ten minutes on two idle cores."
	$(PY) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder tests
	$(PY) assets/execute_notebooks.py --jobs $(JOBS) --to $(VENV)/tested-notebooks
	$(PY) assets/compare_outputs.py $(VENV)/tested-notebooks

lint: $(READY) ## rules and format of ruff at 100 columns, and the types of the public names
	ruff check
	ruff format --check
	ruff check --isolated --select F401,F841 --exclude matrix_decomposition.py thu_big_data_ml
	mypy

slow: $(READY) ## the long studies: tests marked slow, and the notebooks' slow cells, in place; hours
	$(PY) -m pytest -q -m slow tests
	$(PY) assets/execute_notebooks.py --slow

faults: $(READY) ## the attacks at length: kills, damaged files, mutated inputs, small frames; FAULTS_SEED=1 for others; an hour
	FAULTS=long $(PY) -m pytest -q -n $(JOBS) tests/test_faults_*.py tests/test_oracles.py
	@$(PY) -c "import atheris" 2> /dev/null || { echo "No coverage-guided fuzzing: .venv/bin/pip install atheris"; exit 0; }; \
	mkdir -p results; for reader in ratings titles arrays; do \
	$(PY) tests/fuzz_readers.py $$reader -max_total_time=300 -max_len=600 -artifact_prefix=results/ || exit 1; done

notebooks: $(READY) ## execute every notebook in place and export
	$(PY) assets/execute_notebooks.py
	nbdev_export

# quarto empties _docs first, so the Chinese edition is rendered after the English one
report: $(READY) ## the book in English and Chinese, HTML and PDF, in _docs/ and _docs/zh/; needs quarto on PATH
	@command -v quarto > /dev/null || { echo "quarto is not on PATH: pip install quarto-cli, or https://quarto.org/docs/get-started/"; exit 1; }
	$(PY) assets/translate.py book build/zh
	QUARTO_PYTHON=$(CURDIR)/$(PY) quarto render
	QUARTO_PYTHON=$(CURDIR)/$(PY) quarto render build/zh --profile zh
	$(PY) assets/translate.py link _docs

TABLES := user_cf roofline scaling peers time_to_rmse prize prize_race workers
bench: $(READY) ## the measurements of chapter "Scaling", into bench/results/, on a quiet machine; TABLES="user_cf" for one
	@for table in $(TABLES); do start=$$(date +%s); echo "== $$table"; $(PY) bench/$$table.py || exit 1; echo "== $$table took $$(($$(date +%s) - start)) s"; done

clean: ## remove environment, results and rendered pages; data/ stays
	rm -rf $(VENV) bench/.environments results _docs .quarto build ./*.egg-info
