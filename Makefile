# The tasks of a checkout; `make help` lists them. The numbered stages of the README are commands of `slimrank`.
VENV := .venv
PYTHON ?= python3
RUN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2

# Always write byte code, also if the shell says otherwise: without it, every process would compile the code again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup check test test-stack attack demo bench conformance clients lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Make .venv with the locked dependencies; without a GPU it leaves CUDA out; WITHOUT_CUDA=no or yes overrides this

# By default requirements/without_cuda.py decides: yes on Linux without an NVIDIA GPU and with a compiler.
WITHOUT_CUDA ?=

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "slimrank needs Python 3.11 or newer; run make PYTHON=python3.12")'
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@case "$(or $(WITHOUT_CUDA),$$($(PYTHON) requirements/without_cuda.py))" in \
	yes) echo "without CUDA: 1 GB is downloaded, $(VENV) takes 3.2 GB; one to five minutes on two cores";; \
	*) echo "with CUDA: 4 GB are downloaded, $(VENV) takes 6.5 GB; two to ten minutes on two cores." \
		"Without a GPU, install gcc and libc6-dev first: then half of this is left out";; esac
	@if [ "$(or $(WITHOUT_CUDA),$$($(PYTHON) requirements/without_cuda.py))" = yes ]; then set -e; \
		$(PYTHON) requirements/without_cuda.py requirements/dev.txt > $(VENV)/without-cuda.txt; \
		$(RUN)/python -m pip install --no-deps --require-hashes --progress-bar on -r $(VENV)/without-cuda.txt; \
		$(RUN)/python deploy/docker/cuda_stand_ins.py "$$($(RUN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
		$(RUN)/python -c 'import torch'; \
	else $(RUN)/python -m pip install --require-hashes --progress-bar on -r requirements/dev.txt; fi
	$(RUN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## Search and rerank the Python documentation, without a server
	$(RUN)/slimrank demo

BENCH ?= build/bench
bench: setup ## Compare the engine with others in minutes; with DATA="FOLDER FOLDER" (BEIR) in full, written into the documentation
	$(RUN)/python -m pip install --quiet --no-build-isolation --editable '.[bench]'
	mkdir -p $(BENCH)
	$(if $(DATA),$(RUN)/slimrank bench all $(BENCH) $(addprefix --data ,$(DATA)),$(RUN)/slimrank bench engine --quick --plot $(BENCH)/quick.svg)
	$(if $(DATA),$(RUN)/python -m docs.write_benchmark $(BENCH) && $(RUN)/python -m docs.write_readme --without-answer)

check: setup ## Lint and type-check
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

test: setup ## Download what the tests need, and run all tests that this machine can run, in JOBS=2 processes
	$(RUN)/python -m tests.assets
	$(RUN)/python -m pytest -m "not gpu" --numprocesses $(JOBS) --dist loadgroup --no-loadscope-reorder

test-stack: setup ## Start the services of the compose file and test them: index, search, audit, kill, restart, scale
	SLIMRANK_TEST_STACK=1 $(RUN)/python -m pytest tests/stack

conformance: setup ## Run the same cases through every way to connect, on every engine; print a line for each case
	$(RUN)/python -m tests.conformance

attack: setup ## Attack running processes with their default memory limits; print a line for each attack; ROUNDS=20 adds ten minutes of load
	$(RUN)/python -m tests.attack --rounds $(or $(ROUNDS),3)

clients: setup ## Call a gateway with each public client of docs/guides/clients.md, and write the table of that page
	$(RUN)/python -m tests.clients --write

lock: ## Resolve the locked dependencies again
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--extra export --extra train --extra serve --extra otel --extra connect --extra audit \
		--extra haystack --extra langchain --extra llamaindex --extra pyterrier --extra rerankers --extra dev pyproject.toml -o requirements/dev.txt
	for extra in serve gpu; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--constraint requirements/dev.txt --extra $$extra pyproject.toml -o requirements/$$extra.txt; done
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--constraint requirements/dev.txt --excludes requirements/without-cuda.in --extra export pyproject.toml requirements/model.in -o requirements/model.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--constraint requirements/dev.txt requirements/build.in -o requirements/build.txt

clean: ## Remove build output and caches, but not downloads
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
