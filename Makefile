# Thin: each target is a line or two. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail
PYTHON ?= python3
BIN := .venv/bin
CLUSTER := $(BIN)/python -m tests.cluster

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

.venv/ready: requirements.lock pyproject.toml
	@echo "Installing the Python environment into .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dbt-operator needs Python 3.11 or later; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep -oE '^uv==[0-9.]+' requirements.lock)"
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

.PHONY: demo demo-down
demo: .venv/ready ## Run the example shop on a local cluster, and show what came of it
	$(CLUSTER) up
	$(CLUSTER) images
	$(CLUSTER) exec -- python -m tests.demo

demo-down: .venv/ready ## Remove everything that demo and test have started
	$(CLUSTER) down

.PHONY: cluster-up cluster-down cluster-status exec images
cluster-up: .venv/ready ## Start the local cluster
	$(CLUSTER) up

cluster-down: .venv/ready ## Stop it and remove what it left
	$(CLUSTER) down

cluster-status: .venv/ready ## Say how it is
	$(CLUSTER) status

images: .venv/ready ## Build the images and load them into the cluster
	$(CLUSTER) images --for-tests

exec: .venv/ready ## Run CMD='...' in the cluster's network, with KUBECONFIG set
	$(CLUSTER) exec -- bash -c $(call quote,$(CMD))

quote = '$(subst ','\'',$(1))'

.PHONY: test lint unit unit-versions api test-faults e2e test-full
test: .venv/ready ## Everything: all suites, whatever becomes of one; with CI set, the cluster goes afterwards
	+$(BIN)/python -m tests.suites; code=$$?; $(if $(CI),$(CLUSTER) down;) exit $$code

# More processes than cores, since some tests wait for dbt or a clock; the longest files begin first.
SIDE_BY_SIDE := --dist=loadfile --no-loadscope-reorder --numprocesses

# What runs in the dbt container runs with the Python of an image that is not ours, from 3.9 on; the
# packages that are installed here are of a later one, so they are left out.
AS_IN_PODS := --python-version 3.9 --follow-imports skip --no-warn-unused-ignores \
  --allow-untyped-decorators -p dbt_protocol -p dbt_runner

lint: .venv/ready ## Style, types, the direction of imports, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy $(AS_IN_PODS)
	$(BIN)/lint-imports

unit: .venv/ready ## Without a cluster
	$(BIN)/python -m tests.support.judge
	$(BIN)/python -m tests.support.git_programs
	$(BIN)/python -c 'from tests.support.notifier_browser import install_chromium; install_chromium()'
	$(BIN)/python -c 'from tests.support.promtool import install_promtool; install_promtool()'
	$(BIN)/pytest tests/unit $(SIDE_BY_SIDE)=4

unit-versions: .venv/ready ## The tests that start dbt, against the other versions of dbt
	$(BIN)/python -m tests.dbt_versions $(SIDE_BY_SIDE)=2

api: .venv/ready ## Against a real API server
	$(CLUSTER) up
	$(CLUSTER) exec -- pytest tests/api

test-faults: .venv/ready ## What goes wrong in clusters, done to real operators: kills, lost answers, late requests
	$(CLUSTER) up
	$(CLUSTER) exec -- pytest tests/faults

e2e: .venv/ready ## The whole product on a real node
	$(CLUSTER) up
	$(CLUSTER) images --for-tests $(if $(DBT_OPERATOR_TEST_FULL),--for-full)
	$(CLUSTER) exec -- pytest --durations=20 tests/e2e

test-full: ## The same, with what takes too long for every change
	+DBT_OPERATOR_TEST_FULL=1 $(MAKE) test

.PHONY: public-projects
public-projects: .venv/ready ## Run projects of other people, and compare what becomes of them with dbt alone; OPTIONS='--mirror URL'
	$(CLUSTER) up
	$(CLUSTER) images
	$(BIN)/python -m tests.public --image $(OPTIONS)
	$(CLUSTER) exec -- python -m tests.public $(OPTIONS)

.PHONY: bench-run
bench-run: .venv/ready ## Measure a DbtRun against a bare Job that runs the dbt commands one by one
	$(CLUSTER) up
	$(CLUSTER) images
	$(CLUSTER) exec -- python -m tests.bench.run

.PHONY: bench-backfill
bench-backfill: .venv/ready ## Measure a DbtBackfill against xargs that starts dbt's command line for each window
	$(CLUSTER) up
	$(CLUSTER) images
	$(CLUSTER) exec -- python -m tests.bench.backfill

.PHONY: bench-backfill-dbt-2
bench-backfill-dbt-2: .venv/ready ## Measure a DbtBackfill with dbt 2 against a bare Job for each window, and against xargs
	$(CLUSTER) up
	$(CLUSTER) images --for-tests
	$(BIN)/python -c 'from tests.support.dbt_2 import find_dbt_2; find_dbt_2()'
	$(CLUSTER) exec -- python -m tests.bench.backfill_dbt_2

.PHONY: bench-parse
bench-parse: .venv/ready ## Measure the parse of an unchanged project with the cache against without
	$(CLUSTER) up
	$(CLUSTER) images
	$(CLUSTER) exec -- python -m tests.bench.parse

.PHONY: bench-large
bench-large: .venv/ready ## Measure a project of two thousand models against a bare Job: memory, time around dbt, objects
	$(CLUSTER) up
	$(CLUSTER) images
	$(CLUSTER) exec -- python -m tests.bench.large

.PHONY: bench-scale
bench-scale: .venv/ready ## Measure a thousand DbtRuns on fake nodes against bare Jobs, ten thousand finished ones, two thousand DbtSchedules
	$(CLUSTER) up
	$(CLUSTER) exec -- python -m tests.bench.scale

.PHONY: bench-soak
bench-soak: .venv/ready ## Measure runs and backfills alone against beside a namespace full of hostile objects
	$(CLUSTER) up
	$(CLUSTER) exec -- python -m tests.bench.soak

.PHONY: crds lock
crds: .venv/ready ## Generate the CRDs from the models
	$(BIN)/python -m dbt_operator.api.crd crds charts/dbt-operator/templates/crds

COMPILE_ALONE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --custom-compile-command "make lock"
TESTED := tests/cluster/images
COMPILE := $(COMPILE_ALONE) pyproject.toml
lock: .venv/ready ## Pin the dependencies anew: of the environment, of each image, and of each version of dbt
	$(COMPILE) --all-extras --group dev --output-file requirements.lock
	for extra in operator runner dbt; do \
	  $(COMPILE) --extra $$extra --constraint requirements.lock --output-file images/$$extra/requirements.lock; done
	for folder in images/dbt/2.0 tests/data/dbt-2.0.0a4; do \
	  $(COMPILE_ALONE) $$folder/requirements.in --output-file $$folder/requirements.lock; done
	$(COMPILE_ALONE) --no-deps $(TESTED)/spark/requirements.in --output-file $(TESTED)/spark/requirements.lock
	$(COMPILE_ALONE) $(TESTED)/receiver/requirements.in --constraint requirements.lock \
	  --output-file $(TESTED)/receiver/requirements.lock
	$(COMPILE_ALONE) $(TESTED)/dbt-spark/requirements.in --constraint images/dbt/requirements.lock \
	  --output-file $(TESTED)/dbt-spark/requirements.lock
	for version in $(notdir $(patsubst %/,%,$(wildcard images/dbt/1.*/))); do \
	  cp images/dbt/requirements.lock images/dbt/$$version/requirements.lock; \
	  $(COMPILE) --extra dbt --override images/dbt/$$version/overrides.txt --output-file images/dbt/$$version/requirements.lock; done
