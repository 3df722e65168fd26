# `make` alone prints this help; every target prepares .venv first where it needs it.

# From the command line, else from the environment, else these.
PYTHON  ?= python3
PROFILE ?= quick
DATA    ?= auto
DEVICE  ?= auto
SEED    ?= 0
JOBS    ?=
SEEDS   ?=
SCHEDULER ?=

VENV = .venv
BIN  = $(VENV)/bin
# A script of tools/ that ends when make does, even by kill -9; its owner is the parent of the recipe's shell.
RUN  = exec $(BIN)/python -m tools.owned $$PPID

# Absolute, since JupyterLab's kernels run in chapters/. `override` because the command line would win otherwise.
# Its value as it is, in which $ stands for itself, and no shell that could fail: the digits would be taken in its place.
ifneq ($(value DATA_DIR),)
override DATA_DIR := $(if $(filter /% ~%,$(firstword $(value DATA_DIR))),,$(CURDIR)/)$(value DATA_DIR)
export DATA_DIR
endif
unexport PYTHONSAFEPATH # with which no script of tools/ would find the others

# To make every name is a variable: profile=paper or PROFIL=paper would build the quick book without a word.
VARIABLES = PYTHON PROFILE DATA DATA_DIR DEVICE SEED JOBS SEEDS SCHEDULER STORE_DIR OFFLINE
given = $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(filter-out $(VARIABLES) MAKEFLAGS -*-command-variables-*-,$(given)),\
    $(error There is no variable $(name); there are $(VARIABLES), in capitals))

.DEFAULT_GOAL := help
.PHONY: help setup book pdf test processors lint lab bench spread pictures clean distclean

help:  ## Print this help
	@echo "Usage: make TARGET [VARIABLE=value ...]"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-13s%s\n", $$1, $$2 }'
	@echo
	@echo "Variables of book:"
	@echo "  PROFILE=quick|paper      minutes, or hours at the paper's scale          (now $(PROFILE))"
	@echo "  DATA=auto|mnist|digits   auto: MNIST if it can be had, else the digits   (now $(DATA))"
	@echo "  DATA_DIR=folder          where to look for data first                    (now $(or $(DATA_DIR),unset))"
	@echo "  DEVICE=auto|cpu|cuda     where networks and attacks run                  (now $(DEVICE))"
	@echo "  SEED=0                   seed of everything random                       (now $(SEED))"
	@echo "  JOBS=n                   chapters at once                                (now $(or $(JOBS),one per core, at most 4))"
	@echo "  SCHEDULER=local:n        so many processes, tcp://host:port: a Dask cluster, for what takes long, of spread too"
	@echo "                                                                           (now $(or $(SCHEDULER),a process per core))"
	@echo "  STORE_DIR=folder         where trained networks and attacks are kept     (now $(or $(STORE_DIR),_build/store))"
	@echo "  OFFLINE=1                download nothing                                (now $(or $(OFFLINE),unset))"
	@echo "Of setup: PYTHON=python3   which Python makes .venv. Of spread: SEEDS=\"0 1\", which seeds; all five without it"

setup: $(VENV)/installed  ## Create .venv and install the pins (again only when requirements.txt changed)

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 setup" >&2; exit 1; }
	@echo "Installing the pins of requirements.txt into $(VENV) (a minute or three, once)"
	@$(PYTHON) -m venv $(VENV)
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

book: setup  ## Execute what changed and render _build/html/index.html
	@$(RUN) tools/build.py --profile "$(PROFILE)" --data "$(DATA)" --device "$(DEVICE)" --seed "$(SEED)" $(if $(JOBS),--jobs "$(JOBS)") $(if $(SCHEDULER),--scheduler "$(SCHEDULER)")

pdf: setup  ## Print the built book as _build/book.pdf (needs Chromium)
	@$(BIN)/python -m tools.pdf

# As in a build (tools/machine.py): memory is used again, and every process has one thread for its matrices.
test: export MALLOC_MMAP_MAX_ = 0
test: export MALLOC_TRIM_THRESHOLD_ = 1099511627776
test: export OPENBLAS_NUM_THREADS = 1
test: setup  ## Run every test
	$(BIN)/python -m pytest -n auto --dist worksteal

processors: setup  ## Run the numerical tests as other processors would round
	@$(BIN)/python -m tools.processors

lint: setup  ## Check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# The setting lives in .venv, so nobody's own JupyterLab changes. In a container the only user is often root.
lab: setup  ## Open the chapters as notebooks in JupyterLab
	@$(BIN)/jupytext-config --settings-file $(VENV)/share/jupyter/lab/settings/overrides.json set-default-viewer python
	$(BIN)/jupyter-lab --LabApp.default_url=/lab/tree/chapters $(if $(filter 0,$(shell id -u)),--allow-root)

bench: $(VENV)/bench-installed  ## Time the attacks against SciPy, Foolbox and the exact optimum
	$(BIN)/python -m benchmarks.attack

spread: setup  ## Tables 1 to 4 from five seeds at the paper's scale: hours, resumable; SEEDS="1 2": some of them
	@$(RUN) tools/spread.py --data "$(DATA)" --device "$(DEVICE)" $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SCHEDULER),--scheduler "$(SCHEDULER)")

pictures: setup  ## Download ImageNet's networks and pictures (600 MB) for five chapters
	@$(RUN) tools/fetch.py

$(VENV)/bench-installed: $(VENV)/installed benchmarks/requirements.txt benchmarks/alone.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/alone.txt
	@touch $@

clean:  ## Remove the built book; trained networks (_build/store) and .venv stay
	@if [ -d _build ]; then find _build/ -mindepth 1 -maxdepth 1 ! -name store ! -name .lock -exec rm -rf {} +; fi

distclean:  ## Remove everything that is not a source
	rm -rf _build build $(VENV) *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
