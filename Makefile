# make run    a compiled pipeline turns the demo table into a registered model
# make test   all tests
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
CLI := $(BIN)/kfp-lifecycle
SOURCES := components pipelines compiler runner scripts tests setup.py

# Bytecode is compiled once, at install: without it every step of every run would compile its imports anew.
unexport PYTHONDONTWRITEBYTECODE
# OpenMP's threads wait asleep: spinning, they take the cores from the other tests.
export OMP_WAIT_POLICY ?= PASSIVE
# uv does not read pip's setting: wheels that lie on the machine, such as a CPU build of PyTorch.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: run test coverage soak loop lint format types check manifests containers lock benchmarks clean help
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# uv installs in seconds; where it cannot be used (a mirror that only pip is configured for), pip does the same.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; say which with: make PYTHON=python3.12 $@"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt $(1) || \
	  { $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && $(BIN)/python -m pip install -c constraints.txt $(1); }
	@touch $@
endef

.venv/.run: pyproject.toml setup.py constraints.txt
	$(call install,-e '.[steps$(comma)ui]' --group demo)

.venv/.dev: pyproject.toml setup.py constraints.txt
	$(call install,-e '.[steps$(comma)torch$(comma)tune$(comma)cluster$(comma)serve$(comma)monitor$(comma)feast$(comma)images$(comma)gcs$(comma)s3$(comma)sql$(comma)png$(comma)ui]' --group dev)

comma := ,

data/churn.csv: | .venv/.run
	@$(CLI) demo-data churn --out data

run: .venv/.run data/churn.csv ## run the compiled training pipeline on the churn table
	@$(CLI) run training --params pipelines/params/churn.yaml

test: .venv/.dev ## install what tests need and run them
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: .venv/.dev ## the tests again, and the lines that they do not reach (twice as long)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered $(ARGS)

soak: .venv/.dev ## the long versions of the tests
	SOAK=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

loop: .venv/.dev ## train, serve, drift, retrain and roll out on a year of flights, with a report
	$(BIN)/python -m kfp_lifecycle.scripts.loop

lint: .venv/.dev ## ruff, and the formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.dev ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy does not follow setuptools' editable finder: it reads the namespace through a folder of links.
types: .venv/.dev ## mypy, strict
	@mkdir -p .mypy_root/kfp_lifecycle
	@for f in components pipelines compiler runner scripts; do ln -sfn ../../$$f .mypy_root/kfp_lifecycle/$$f; done
	$(BIN)/mypy -p kfp_lifecycle

check: .venv/.dev ## compiled/ and the generated READMEs are what the code gives, and lint finds nothing
	$(CLI) compile --check
	$(CLI) docs --check
	$(CLI) lint compiled --fail-on warning >/dev/null

manifests: .venv/.dev ## what the manifests build is checked, for every supported Kubernetes
	$(BIN)/python -m pytest -q tests/manifests

containers: .venv/.dev ## build every image that needs no GPU, and run the pipelines in them
	scripts/containers.sh

lock: .venv/.dev ## the newest versions that pyproject.toml allows, for every supported Python
	UV_FIND_LINKS= $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade pyproject.toml -o constraints.txt

clean: ## remove what make made
	rm -rf .venv .mypy_root .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info .coverage* htmlcov

benchmarks: .venv/.dev ## measure again every number in docs/benchmarks.md (half an hour, an idle machine)
	for script in compile_all lint_diff prepare_featurize training_run tuning train_gpu train_gpu_streaming serving batch_inference monitoring feature_store online_features clone_to_run; do $(BIN)/python scripts/benchmarks/$$script.py || exit 1; done
	scripts/containers.sh $(BIN)/python scripts/benchmarks/images.py
