# Everything a developer does, by one command each; "make help" lists them.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
export PORT
LANES ?= 2

# Servers of other users must be able to run this Python, so one below /root (closed to others)
# gives way to the system's when that is new enough.
define FIND_PYTHON
new='import sys; sys.exit(sys.version_info < (3, 10))'; \
closed='import sys; sys.exit(not sys.base_prefix.startswith("/root/"))'; \
if python3 -c "$$closed" 2>/dev/null && /usr/bin/python3 -c "$$new" 2>/dev/null; \
then echo /usr/bin/python3; else command -v python3; fi
endef
PYTHON ?= $(shell $(FIND_PYTHON))

.PHONY: help venv run test qemu-image test-qemu check format bench clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

venv: $(VENV)/.test ## make .venv with everything for running and developing

run: $(VENV)/.demo ## JupyterHub with Sky Port on http://127.0.0.1:$PORT (8000); Ctrl-C stops all
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec $(BIN)/jupyterhub -f jupyterhub_config.py

# All at once: each file in the next lane that is free. A part: in one process.
test: $(VENV)/.test ## the whole test suite (root: with real nodes); ARGS="-k name" for a part
	$(BIN)/python -m pytest $(or $(ARGS),-n $(LANES) --dist loadfile --no-loadscope-reorder)

# Root on Debian 12: the packages for emulated PCs, and their disk from Debian's mirror.
qemu-image: ## prepare what test-qemu needs (root; installs packages, takes two minutes)
	apt-get install -y --no-install-recommends \
		curl genisoimage mmdebstrap netcat-openbsd qemu-system-x86 qemu-utils
	sh tests/infra/arm/backends/qemu_image.sh \
		"$${SKYPORT_QEMU_IMAGE:-$$HOME/.cache/skyport-tests/qemu}"

test-qemu: $(VENV)/.test ## the Azure gate against emulated PCs with a real cloud-init
	SKYPORT_QEMU=1 $(BIN)/python -m pytest -s tests/arm/test_qemu_backend.py \
		tests/e2e/test_qemu_azure.py $(ARGS)

check: $(VENV)/.test ## lint, format, types and the directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.test ## format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test ## measure against the peers
	$(BIN)/python -m benchmarks

clean: ## remove .venv, caches and builds
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@test -n "$(PYTHON)" || { \
		echo "No python3 found. Install Python 3.10 or newer (Debian: apt-get install python3)."; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$(PYTHON) is older than 3.10. Name a newer one: make PYTHON=/path/to/python3 venv"; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: its venv module is missing."; \
		echo "Install it (Debian: apt-get install python3-venv) and try again."; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml setup.cfg | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml setup.cfg | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(VENV)/.demo $@
