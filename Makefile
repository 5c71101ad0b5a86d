# Three commands do everything: `make run` draws and scores, `make draw` opens the page where a model finishes your
# drawing, `make test` checks. Each makes .venv on first use.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
CODE := *.py plumbing drawings scoring oddity reports families studies page words
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
	$(PY) run_all.py --n 500 --seeds 3 --publish

# The notebook as one page with all its pictures, for reading without running it. Its drawings that are not generated
# are those of a program: drawings of the dataset may not be published with the project.
notebook: $(VENV)/runtime
	QUICKDRAW_DIR=embedded $(VENV)/bin/jupyter nbconvert --to html --execute --output-dir docs --output notebook Technical_Assignment.ipynb

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

$(VENV)/development: $(VENV)/runtime requirements/page.txt requirements/words.txt requirements/dev.txt \
		requirements/agreement.txt
	$(PIP) -r requirements/dev.txt
	$(PIP) --no-deps --upgrade --target $(VENV)/cross-checks -r requirements/agreement.txt
	@touch $@

# How the shipped models were made: some eight hours of one CPU core. DRAWINGS is a folder of <category>.ndjson files,
# all 345 categories of them. Each stage begins with what the one before has learned; the last step tunes sampling.
# `train_diffusion.py --help` says what each preset is, and where the shipped base differs.
DRAWINGS ?= $(QUICKDRAW_DIR)
STAGES := all base base-longer related related-changed finetune-cat finetune-bus finetune-rabbit finetune-car-first finetune-car

models: $(VENV)/runtime
	set -e; for stage in $(STAGES); do $(PY) train_diffusion.py --preset $$stage --data-dir "$(DRAWINGS)"; done
	cp runs/base/weights.safetensors checkpoints/guide.safetensors
	cp runs/base-longer/weights.safetensors checkpoints/base.safetensors
	set -e; for name in cat bus rabbit car; do $(PY) -m studies.tune_sampling --data-dir "$(DRAWINGS)" --category $$name --start runs/related-changed/weights.safetensors --checkpoint runs/finetune-$$name/weights.safetensors --out checkpoints/$$name.safetensors; done
	set -e; for name in cat bus rabbit; do $(PY) -m studies.distill --data-dir "$(DRAWINGS)" --category $$name --out runs/distill-$$name; done
	$(PY) -m studies.distill --data-dir "$(DRAWINGS)" --category car --drawings 8192 --first-strokes 32768 --steps 2500 --out runs/distill-car
	$(PY) -m studies.train_features --data-dir "$(DRAWINGS)" --leave-out cat,bus,rabbit,car --cap 110 --epochs 7 --seed 7 --out scoring/critic_eye.safetensors
	$(PY) -m studies.refine --data-dir "$(DRAWINGS)" --category cat --checkpoint runs/distill-cat/weights.safetensors --contexts 4 --tokens 4 --steps 360 --out runs/refine-cat
	$(PY) -m studies.refine --data-dir "$(DRAWINGS)" --category bus --checkpoint runs/distill-bus/weights.safetensors --out runs/refine-bus-1
	$(PY) -m studies.refine --data-dir "$(DRAWINGS)" --category bus --checkpoint runs/refine-bus-1/weights.safetensors --contexts 4 --tokens 4 --warmup 10 --steps 300 --out runs/refine-bus-2
	$(PY) -m studies.refine --data-dir "$(DRAWINGS)" --category bus --checkpoint runs/refine-bus-2/weights.safetensors --contexts 4 --tokens 4 --warmup 10 --steps 200 --decay 0 --out runs/refine-bus
	$(PY) -m studies.refine --data-dir "$(DRAWINGS)" --category rabbit --checkpoint runs/distill-rabbit/weights.safetensors --out runs/refine-rabbit-1
	$(PY) -m studies.refine --data-dir "$(DRAWINGS)" --category rabbit --checkpoint runs/refine-rabbit-1/weights.safetensors --learning-rate 3e-5 --steps 110 --warmup 10 --out runs/refine-rabbit
	$(PY) -m studies.refine --data-dir "$(DRAWINGS)" --category car --checkpoint runs/distill-car/weights.safetensors --out runs/refine-car-1
	$(PY) -m studies.refine --data-dir "$(DRAWINGS)" --category car --checkpoint runs/refine-car-1/weights.safetensors --contexts 4 --tokens 4 --warmup 10 --steps 300 --out runs/refine-car
	mkdir -p checkpoints/students; for name in cat bus rabbit car; do cp runs/refine-$$name/weights.safetensors checkpoints/students/$$name.safetensors; done
	$(PY) -m studies.train_critics --data-dir "$(DRAWINGS)"

clean:
	rm -rf $(VENV) data/cache runs samples site
