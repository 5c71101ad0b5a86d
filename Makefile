# Two commands do everything: `make run` draws and scores, `make test` checks. Both make .venv on first use.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: run smoke full table test lint models clean

run: $(VENV)/runtime
	$(PY) run_all.py

smoke full: $(VENV)/runtime
	$(PY) run_all.py --profile $@

# The figures and animations of the README: mean and deviation over three seeds.
table: $(VENV)/runtime
	$(PY) run_all.py --seeds 3 --publish

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

$(VENV)/development: $(VENV)/runtime requirements-dev.txt requirements-agreement.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/cross-checks -r requirements-agreement.txt
	@touch $@

# How the shipped models were made: about two hours on two CPU cores. DRAWINGS is a folder of <category>.ndjson files,
# all 345 categories of them. Each stage begins with what the one before has learned.
DRAWINGS ?= $(QUICKDRAW_DIR)
ANIMALS := dog,bear,lion,tiger,panda,raccoon,squirrel,mouse,monkey,kangaroo,pig,cow,sheep,hedgehog,teddy-bear,face,smiley face
VEHICLES := car,school bus,van,truck,pickup truck,firetruck,ambulance,police car,train,tractor,bulldozer
TRAIN := $(PY) train_diffusion.py --data-dir "$(DRAWINGS)" --batch-strokes 768 --ema-decay 0.998 --sample-every 0
RELATED := --category cat,bus,rabbit --companions "$(VEHICLES),$(ANIMALS)" --dropout 0.05 --warmup 100 --validate-every 300
TUNE := --init runs/base/weights.safetensors --companion-share 0.4 --steps 800 --learning-rate 4e-4 --scale-weight 0.75 --dropout 0.1 --warmup 50 --validate-every 200

models: $(VENV)/runtime
	$(TRAIN) --category all --out runs/all --steps 5500 --warmup 200 --scale-weight 0 --dropout 0
	$(TRAIN) $(RELATED) --init runs/all/weights.safetensors --out runs/related --steps 800 --learning-rate 8e-4 --scale-weight 0.5
	$(TRAIN) $(RELATED) --init runs/related/weights.safetensors --out runs/base --steps 8400 --scale-weight 0.75
	$(TRAIN) $(TUNE) --category cat --companions "$(ANIMALS),rabbit" --out runs/cat
	$(TRAIN) $(TUNE) --category bus --companions "$(VEHICLES)" --out runs/bus
	$(TRAIN) $(TUNE) --category rabbit --companions "$(ANIMALS),cat" --out runs/rabbit
	for name in base cat bus rabbit; do cp runs/$$name/weights.safetensors checkpoints/$$name.safetensors; done

clean:
	rm -rf $(VENV) data/cache runs samples
