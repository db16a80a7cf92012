# `make` alone lists the targets. Each is safe to repeat.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_QUIET := --quiet --disable-pip-version-check
export OMP_NUM_THREADS ?= 1
WEEKS ?= 10000

.DEFAULT_GOAL := help
.PHONY: help demo test lint lock sbom audit coverage real panels stress bench feast-universal release-check clean
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 17

# Every package by its hash, the project itself editable and without a look at any index. torch's build without CUDA is
# tried first, where pip is told of a place that has one; PyPI's own for Linux wants gigabytes of CUDA besides.
HASHED := $(BIN)/pip install $(PIP_QUIET) --no-deps --require-hashes --progress-bar on
PROJECT ?= -e .
$(VENV)/.installed: pyproject.toml requirements.lock requirements-cuda.lock
	@test -x $(BIN)/python || { $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
		|| { echo "fpm needs Python 3.11 or 3.12, and $(PYTHON) is neither: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }; }
	@echo "creating $(VENV) and installing from requirements.lock (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n 's/^torch==[^ ]*/&+cpu/; /^torch==/,/[^\\]$$/p' requirements.lock > $(VENV)/torch-cpu.txt
	@$(HASHED) -r $(VENV)/torch-cpu.txt 2> $(VENV)/torch-cpu.log || true
	@$(HASHED) -r requirements.lock
	@! grep -qs '^Requires-Dist: cuda' $(VENV)/lib/python3*/site-packages/torch-*/METADATA || $(HASHED) -r requirements-cuda.lock
	@$(BIN)/pip install $(PIP_QUIET) --no-deps --no-index --no-build-isolation $(PROJECT)
	@$(BIN)/pip check > $(VENV)/check.log || { cat $(VENV)/check.log; exit 1; }
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@$(HASHED) -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.installed  ## environment, database, the whole chain on the synthetic exchange, report, online query
	@$(BIN)/fpm demo

test: lint  ## everything: style, types, every test but the slow ones, the wheel
	$(BIN)/pytest $(PARALLEL)

lint: $(VENV)/.installed-dev  ## ruff, mypy and codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

lock:  ## the requirements*.lock files from pyproject.toml, with hashes: make lock [UPGRADE=--upgrade]
	@PYTHON=$(PYTHON) UPGRADE=$(UPGRADE) .ci/lock

sbom:  ## a bill of materials of the lock files, in CycloneDX: make sbom [OUT=sbom.cdx.json]
	@PYTHON=$(PYTHON) .ci/supply sbom $(OUT)

audit:  ## known vulnerabilities of all that the lock files name; red, too, where the advisories cannot be asked
	@PYTHON=$(PYTHON) .ci/supply audit

coverage: $(VENV)/.installed-dev  ## the tests again, branches counted; a floor that only rises stands in pyproject.toml
	$(BIN)/pytest $(PARALLEL) --cov

real: $(VENV)/.installed-dev  ## the chain on real bars: make real DATA=folder
	@test -n "$(DATA)" || { echo "usage: make real DATA=folder-with-us_equity_1min_2018-and-crypto_1min_usdm_perp"; exit 2; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash benchmarks/real.sh "$(DATA)"

panels: $(VENV)/.installed-dev  ## real panels by docs/protocol.md, files to tables: make panels DATA=folder [FINAL=--final]
	@test -n "$(DATA)" || { echo "usage: make panels DATA=folder-with-nse_equity_15min_2024_2025-and-others"; exit 2; }
	@$(BIN)/python benchmarks/panels.py "$(DATA)" $(FINAL)

.venv-fuzz/.installed: tests/fuzz/requirements.txt
	@$(PYTHON) -m venv .venv-fuzz
	@.venv-fuzz/bin/pip install $(PIP_QUIET) -r tests/fuzz/requirements.txt
	@touch $@

stress: $(VENV)/.installed-dev .venv-fuzz/.installed  ## the slow suites: kill sweeps, requests at random, simulated weeks: make stress [WEEKS=10000] (.weeks.jsonl: those done)
	$(BIN)/pytest -m slow
	bash tests/fuzz/run.sh .venv-fuzz/bin/schemathesis $(BIN)/python
	$(BIN)/python -m tests.simulation.sweep 1 $(WEEKS) .weeks.jsonl

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

release-check:  ## every target and every command of the docs, from a fresh clone: make release-check [DATA=folder] [FEAST=checkout]
	@DATA="$(DATA)" FEAST="$(FEAST)" PYTHON="$(PYTHON)" .ci/release-check

clean:  ## remove the environment and the caches, never a store
	rm -rf $(VENV) .venv-feast .venv-fuzz build dist *.egg-info sbom.cdx.json .weeks.jsonl .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
