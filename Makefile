# Two commands do everything: `make run` draws and scores, `make test` checks. Both make .venv on first use.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: run smoke full test lint clean

run: $(VENV)/runtime
	$(PY) run_all.py

smoke full: $(VENV)/runtime
	$(PY) run_all.py --profile $@

test: $(VENV)/development
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy *.py
	$(PY) -m pytest

lint: $(VENV)/development
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy *.py

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit("Python %d.%d is too old, 3.10 or later is needed" % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime: $(VENV)/created requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/development: $(VENV)/runtime requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) data/cache runs samples
