# One line for each thing that is done here. `make` alone shows them.
#
#   PYTHON=python3.12 make test     with another interpreter (3.11 or newer; found by itself otherwise)
#   make test ARGS="-k journal"     words for pytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
BIN := $(VENV)/bin
DISTS := core plugins/generic plugins/intel plugins/mellanox plugins/virtual
PYPROJECTS := $(DISTS:%=%/pyproject.toml)
ARGS ?=

ifndef PYTHON
PYTHON := $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
endif

.PHONY: help
help: ## show this list
	@awk -F ' *## *' '/^[a-z-]+:.*## / { sub(/:.*/, "", $$1); printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the virtual environment ----------------------------------------------------------------------------------------
# One stamp for the distributions (all that the demo needs) and one for the development tools on top.

$(VENV)/.dists: $(PYPROJECTS)
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.11 or newer was found (give one: PYTHON=/path/to/python3 make ...)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is not Python 3.11 or newer (give another one: PYTHON=/path/to/python3 make ...)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: $(PYTHON) has no venv module (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$("$(PYTHON)" -V) ..." >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e "./core[kube]" $(patsubst %,-e ./%,$(filter-out core,$(DISTS)))
	@touch $@

$(VENV)/.tools: $(VENV)/.dists requirements-dev.txt
	@echo "Adding the development tools ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# --- what a user does -----------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.dists ## see it work on a simulated node: no root, no cluster, no network card needed
	@$(BIN)/virtfn demo $(ARGS)

# --- what a developer does ------------------------------------------------------------------------------------------

.PHONY: test
test: $(VENV)/.tools ## run the tests that need nothing but this machine
	$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: $(VENV)/.tools ## lint, format, types and direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(DISTS:%=%/src)
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.tools ## put the code in the form that check wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: vm-deps
vm-deps: ## install what vm-test needs: QEMU, a Debian kernel, built modules (as root; x86_64 Debian)
	"$(PYTHON)" tests/vm/deps.py --install

.PHONY: vm-test
vm-test: $(VENV)/.tools ## run the tests on a real kernel in a virtual machine (what kube-deps builds is needed too)
	$(BIN)/python -m pytest tests/vm $(ARGS)

.PHONY: kube-deps
kube-deps: ## build what kube-test needs, once in ten minutes: kube-apiserver, etcd (as root if packages are missing)
	"$(PYTHON)" tests/kube/deps.py --install

.PHONY: kube-test
kube-test: $(VENV)/.tools ## run the tests with a real Kubernetes API server
	$(BIN)/python -m pytest tests/kube $(ARGS)

.PHONY: bench
bench: $(VENV)/.tools ## measure how long the parts take
	@for script in bench/*.py; do [ -f "$$script" ] || continue; echo "== $$script"; $(BIN)/python "$$script" $(ARGS); done

.PHONY: wheels
wheels: $(VENV)/.tools ## build the five wheels into dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist $(DISTS:%=./%)
	@ls dist

.PHONY: clean
clean: ## remove all that make made here, the virtual environment too
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
