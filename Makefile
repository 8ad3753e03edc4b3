# `make help` lists what there is. Nothing here needs root.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BUILD := $(BIN)/python -m build --wheel -C--global-option=--quiet
PYTEST := $(BIN)/python -P -m pytest
ARGS ?=
SECONDS := 60
SEEDS := 100
LIVES := 200000
ROUNDS := 30

SOURCES := setup.py pyproject.toml $(shell find src/swellmq -type f -not -name '*.pyc')
INPUTS := OPT=$(SWELLMQ_OPT) INTERPRETED=$(SWELLMQ_INTERPRETED) CC=$(CC) CFLAGS=$(CFLAGS) $(sort $(SOURCES))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help api serve install test test-compiled test-interpreted check format lint bench profile guard wheel docs conformance sim soak kill fuzz hostile mqttjs axe screenshots clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "ARGS=... goes to the command; SWELLMQ_OPT=1 compiles faster, SWELLMQ_INTERPRETED=1 not at all."

serve: $(VENV)/installed ## run the broker with its page, installing it first where needed
	$(BIN)/swellmq serve --admin 127.0.0.1:18083 $(ARGS)

install: $(VENV)/installed $(VENV)/test-libraries ## install into .venv, with what the tests need

test: test-compiled test-interpreted ## run the tests against the compiled build, then the interpreted one

test-compiled: $(VENV)/installed $(VENV)/test-libraries ## run the tests against what is installed in .venv
	EXPECT_BUILD=compiled $(PYTEST) $(ARGS)

test-interpreted: $(VENV)/installed $(VENV)/test-libraries ## run the tests against src
	EXPECT_BUILD=interpreted PYTHONPATH=src $(PYTEST) $(ARGS)

check: lint test ## what must pass before a commit

lint: $(VENV)/installed $(VENV)/test-libraries $(VENV)/dev-libraries ## check format, style and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/dev-libraries ## put the sources into the common format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/installed ## measure, beside mosquitto where it is installed; ARGS: load, pool, ... with their options
	$(BIN)/swellmq bench $(or $(ARGS),load)

profile: $(VENV)/installed ## where the CPU time of each message goes, by perf; ARGS="--scenario qos1"
	$(BIN)/swellmq bench profile $(ARGS)

guard: $(VENV)/installed ## fail where speed was lost against tools/guard.json; ARGS=--keep after a gain
	$(BIN)/python -P tools/guard.py $(ARGS)

wheel: $(VENV)/created ## build two wheels into dist: compiled for this platform, and interpreted for any
	rm -rf dist
	$(BUILD) --outdir dist
	SWELLMQ_INTERPRETED=1 $(BUILD) --outdir dist

docs: $(VENV)/installed ## write the generated pages and pictures of docs, and the OpenAPI document, anew
	$(BIN)/swellmq reference > docs/settings.md
	$(BIN)/swellmq reference metrics > docs/METRICS.md
	$(BIN)/python tools/grafana.py
	PYTHONPATH=src $(BIN)/python -P tools/openapi.py
	$(BIN)/python docs/pool_picture.py docs/pool.svg

api: $(VENV)/installed $(VENV)/test-libraries $(VENV)/api-libraries ## try the admin API by its OpenAPI document
	API_TEST=1 $(PYTEST) tests/admin/test_schemathesis.py $(ARGS)

mqttjs: tests/clients/mqttjs/node_modules ## install MQTT.js, for its tests; needs npm

axe: tests/admin/axe/node_modules ## install axe-core, for the tests of the admin page; needs npm

%/node_modules: %/package-lock.json
	npm ci --prefix $* --no-audit --no-fund --ignore-scripts
	@touch $@

screenshots: $(VENV)/installed $(VENV)/test-libraries ## take the pictures of the admin page for the README; needs Chromium
	$(BIN)/python -P tools/screenshots.py $(ARGS)

sim: $(VENV)/installed $(VENV)/test-libraries ## run the simulator, SEEDS=100 of them
	$(BIN)/python tools/simulate.py $(SEEDS) $(ARGS)

kill: $(VENV)/installed ## kill the broker under load, ROUNDS=30 times, and count what is lost
	$(BIN)/python tools/kill.py --rounds $(ROUNDS) $(ARGS)

soak: $(VENV)/installed ## let LIVES=200000 clients come and vanish, and look at what is left
	$(BIN)/python tools/soak.py $(LIVES)

hostile: $(VENV)/installed $(VENV)/test-libraries ## attack a broker over TCP, TLS and WebSocket, SECONDS=60 ARGS="--seed 7"
	$(BIN)/python -P tools/hostile.py --seconds $(SECONDS) $(ARGS)

fuzz: $(VENV)/installed $(VENV)/test-libraries $(VENV)/fuzz-libraries ## fuzz the decoder and the broker, SECONDS=60 each
	$(BIN)/python tests/fuzz/run.py decode --seconds $(SECONDS)
	$(BIN)/python tests/fuzz/run.py broker --seconds $(SECONDS)

conformance: $(VENV)/test-libraries ## write docs/CONFORMANCE.md anew; fails on clauses without code or test
	$(BIN)/python tools/conformance.py $(ARGS)

clean: ## remove all that make has made
	rm -rf $(VENV) tests/admin/axe/node_modules tests/clients/mqttjs/node_modules build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/created:
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install build
	@touch $@

# Written only when it changes, so that a file that is gone and another option lead to a new build too.
build/inputs: FORCE
	@mkdir -p build
	@echo '$(INPUTS)' | cmp -s - $@ || echo '$(INPUTS)' > $@

# The first install brings the libraries, the second replaces a build of the same version.
$(VENV)/installed: $(VENV)/created build/inputs $(SOURCES)
	rm -rf build/wheel
	$(BUILD) --outdir build/wheel
	$(PIP) install "$$(echo build/wheel/*.whl)[admin,auth,otel,tools]"
	$(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	$(BIN)/swellmq --version
	@touch $@

$(VENV)/%-libraries: pyproject.toml $(VENV)/created
	@mkdir -p build
	$(BIN)/python -c "import tomllib; extras = tomllib.load(open('$<', 'rb'))['project']['optional-dependencies']; \
		print(*extras['$*'], sep='\n')" > build/$*.txt
	$(PIP) install --requirement build/$*.txt
	@touch $@
