# From a bare clone: `make verify` and `make test` need only Python 3.11 or later, its venv, and
# a package index. Environments lie in .venv and .venv-oldest, and follow pyproject.toml.

PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin

# Tests run in so many processes; what is under test is compiled on all cores anyway
JOBS ?= 2
# More arguments for pytest or for manualbp verify, such as ARGS="-k sigmoid"
ARGS ?=

PIP_INSTALL = -m pip install -qq --disable-pip-version-check
# What pyproject.toml says is the least, exactly
LOWER_BOUNDS = import tomllib; \
	print(*(d.replace(">=", "==", 1) for d in \
	tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help verify test test-experiments test-oldest doctest lint format types wheel-test clean

help:
	@echo "make verify      decide every rule: manualbp verify"
	@echo "make test        the tests"
	@echo "make test-experiments  those of experiments, with what they need"
	@echo "make test-oldest the tests, on the oldest JAX and NumPy that are supported"
	@echo "make doctest     the examples in docstrings and Markdown"
	@echo "make lint        style and format"
	@echo "make format      mend both where that needs no thought"
	@echo "make types       the type checker"
	@echo "make wheel-test  build the wheel, and use it far from here"
	@echo "make clean       remove environments, caches and build outputs"

verify: $(VENV)/.verify
	@$(BIN)/manualbp verify $(ARGS)

# All but those of experiments and of saving, which need more packages
test: $(VENV)/.test
	@$(BIN)/python -m pytest -n $(JOBS) --ignore-glob='*/test_experiments_*' \
		--ignore=tests/test_saving.py $(ARGS)

# They are skipped where matplotlib, scikit-learn and orbax-checkpoint are not installed
test-experiments: $(VENV)/.all
	@$(BIN)/python -m pytest -n $(JOBS) tests/test_experiments_*.py tests/test_saving.py $(ARGS)

test-oldest: $(OLDEST)/.test
	@$(OLDEST)/bin/python -m pip list --disable-pip-version-check | grep -iE '^(jax|jaxlib|numpy) '
	@$(OLDEST)/bin/python -m pytest -n $(JOBS) $(ARGS)

doctest: $(VENV)/.test
	@$(BIN)/python -m pytest --doctest-modules --doctest-glob='*.md' \
		manualbp reference $(wildcard README.md docs) $(ARGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

types: $(VENV)/.dev
	@$(BIN)/mypy

wheel-test: $(VENV)/.created
	@.ci/wheel-test $(BIN)/python

clean:
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An empty environment
$(VENV)/.created $(OLDEST)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "manualbp needs Python 3.11 or later, and $(PYTHON) is not: make PYTHON=python3.12" >&2; \
		exit 1; }
	@echo "Creating $(@D)"
	@$(PYTHON) -m venv --clear $(@D) || { \
		echo "no virtual environment: on Debian and Ubuntu, apt-get install python3-venv" >&2; \
		exit 1; }
	@touch $@

# The package, editable, with one extra: .venv/.test has manualbp[test]
$(VENV)/.%: pyproject.toml $(VENV)/.created
	@echo "Installing manualbp[$*] into $(VENV)"
	@$(BIN)/python $(PIP_INSTALL) --editable '.[$*]'
	@touch $@

$(OLDEST)/.test: pyproject.toml $(OLDEST)/.created
	@echo "Installing manualbp[test] into $(OLDEST), at its lower bounds"
	@$(OLDEST)/bin/python $(PIP_INSTALL) --editable '.[test]' \
		$$($(OLDEST)/bin/python -c '$(LOWER_BOUNDS)')
	@touch $@
