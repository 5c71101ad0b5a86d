# Three commands do everything: `make run` draws and scores, `make draw` opens the page where a model finishes your
# drawing, `make test` checks. Each makes .venv on first use.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
CODE := *.py plumbing drawings scoring reports studies page
# Tests run side by side, one thread each: threads of several processes would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile

.PHONY: run draw page smoke full table notebook test test-page test-long lint models clean

run: $(VENV)/runtime
	$(PY) run_all.py

smoke full: $(VENV)/runtime
	$(PY) run_all.py --profile $@

# Python, npm and a browser are all it takes; `make page` ends with site/, a folder for any web host.
draw: $(VENV)/page
	$(PY) draw_with_me.py

page: $(VENV)/page
	$(PY) draw_with_me.py --build-only

# The results and animations of the README: mean and standard deviation over three seeds.
table: $(VENV)/runtime
	$(PY) run_all.py --seeds 3 --publish

# The notebook as one page with all its pictures, for reading without running it.
notebook: $(VENV)/runtime
	$(VENV)/bin/jupyter nbconvert --to html --execute --output-dir docs --output notebook Technical_Assignment.ipynb

# Style, types and every law of the science, in minutes; the page in a real browser; and everything, in an hour or two.
test: lint
	$(PYTEST) --ignore tests/page

test-page: $(VENV)/development
	$(PY) -m pytest tests/page

test-long: lint
	$(PYTEST) --long --timeout 7200
	$(PY) -m tests.plant_faults

lint: $(VENV)/development
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy $(CODE)

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit("Python %d.%d is too old, 3.10 or later is needed" % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime: $(VENV)/created requirements.txt
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/page: $(VENV)/runtime requirements/page.txt
	$(PIP) -r requirements/page.txt
	@touch $@

$(VENV)/development: $(VENV)/runtime requirements/page.txt requirements/dev.txt requirements/agreement.txt
	$(PIP) -r requirements/dev.txt
	$(PIP) --no-deps --upgrade --target $(VENV)/cross-checks -r requirements/agreement.txt
	@touch $@

# How the shipped models were made: some five hours of one CPU core. DRAWINGS is a folder of <category>.ndjson files,
# all 345 categories of them. Each stage begins with what the one before has learned; the last one tunes sampling.
DRAWINGS ?= $(QUICKDRAW_DIR)
ANIMALS := dog,bear,lion,tiger,panda,raccoon,squirrel,mouse,monkey,kangaroo,pig,cow,sheep,hedgehog,teddy-bear,face,smiley face
VEHICLES := school bus,van,truck,pickup truck,firetruck,ambulance,police car,train,tractor,bulldozer
TRAIN := $(PY) train_diffusion.py --data-dir "$(DRAWINGS)" --batch-strokes 768 --parts 1 --sample-every 0
TUNE := --init runs/related/weights.safetensors --learning-rate 5e-4 --warmup 50 --scale-weight 0.75 --ema-decay 0.998 --first-stroke-draws 12 --augmentation 0.15 --validate-every 250

models: $(VENV)/runtime
	$(TRAIN) --category all --out runs/all --steps 5500 --warmup 200 --ema-decay 0.998 --scale-weight 0 --dropout 0
	$(TRAIN) --category all --init runs/all/weights.safetensors --out runs/base --steps 13200 --warmup 200 --history-noise 0.2 --augmentation 0.12 --validate-every 1000
	$(TRAIN) --category cat,bus,rabbit,car --companions "$(VEHICLES),$(ANIMALS)" --companion-share 0.45 --init runs/base/weights.safetensors --out runs/related --steps 9000 --learning-rate 7e-4 --warmup 100 --scale-weight 0.75 --dropout 0.15 --history-noise 0.35 --augmentation 0.2
	$(TRAIN) $(TUNE) --category cat --companions "$(ANIMALS),rabbit" --companion-share 0.3 --steps 1000 --history-noise 0.25 --out runs/cat
	$(TRAIN) $(TUNE) --category bus --companions "car,$(VEHICLES)" --companion-share 0.4 --steps 1000 --dropout 0.15 --history-noise 0.3 --out runs/bus
	$(TRAIN) $(TUNE) --category rabbit --companions "$(ANIMALS),cat" --companion-share 0.4 --steps 800 --dropout 0.2 --history-noise 0.4 --out runs/rabbit
	$(TRAIN) $(TUNE) --category car --companions "$(VEHICLES)" --companion-share 0.1 --steps 2000 --history-noise 0.25 --out runs/car-first
	$(TRAIN) $(TUNE) --category car --companions "$(VEHICLES)" --companion-share 0.1 --steps 1600 --history-noise 0.25 --init runs/car-first/weights.safetensors --out runs/car
	cp runs/base/weights.safetensors checkpoints/base.safetensors
	for name in cat bus rabbit car; do $(PY) tune_sampling.py --data-dir "$(DRAWINGS)" --category $$name --checkpoint runs/$$name/weights.safetensors --out checkpoints/$$name.safetensors; done

clean:
	rm -rf $(VENV) data/cache runs samples site
