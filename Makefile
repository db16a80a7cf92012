# `make` alone lists the targets. Each is safe to repeat.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_QUIET := --quiet --disable-pip-version-check
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint real stress bench feast-universal clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 17

$(VENV)/.installed: pyproject.toml requirements.lock
	@echo "creating $(VENV) and installing from requirements.lock (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install $(PIP_QUIET) --progress-bar on -c requirements.lock -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/pip install $(PIP_QUIET) -c requirements.lock -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed  ## environment, database, the whole chain on the synthetic exchange, report, online query
	@$(BIN)/fpm demo

test: lint  ## everything: style, types, tests
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

real: $(VENV)/.installed-dev  ## the chain on real bars: make real DATA=folder
	@test -n "$(DATA)" || { echo "usage: make real DATA=folder-with-us_equity_1min_2018-and-crypto_1min_usdm_perp"; exit 2; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash benchmarks/real.sh "$(DATA)"

stress: $(VENV)/.installed-dev  ## the slow suites
	$(BIN)/pytest -m slow

bench: $(VENV)/.installed-dev  ## every figure under benchmarks/, as a ratio in one run
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

.venv-feast/.installed: tests/feast_universal/requirements.txt $(VENV)/.installed
	@$(BIN)/python -m venv .venv-feast
	@$(BIN)/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' \
		> $$(.venv-feast/bin/python -c 'import site; print(site.getsitepackages()[0])')/fpm_environment.pth
	@.venv-feast/bin/pip install $(PIP_QUIET) -r tests/feast_universal/requirements.txt
	@touch $@

feast-universal: .venv-feast/.installed  ## Feast's own tests on our stores: make feast-universal FEAST=checkout
	@test -d "$(FEAST)/sdk/python/tests" || { echo "usage: make feast-universal FEAST=checkout-of-feast"; exit 2; }
	@bash tests/feast_universal/run.sh .venv-feast/bin/python "$(FEAST)"

clean:  ## remove the environment and the caches, never a store
	rm -rf $(VENV) .venv-feast build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
