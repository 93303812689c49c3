# Every target sets up what it needs first, and a second run starts in seconds.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Values for `docker compose config` alone; the real ones are in .env (see .env.example).
COMPOSE_CHECK := env DOCKER_HOST=unix:///nonexistent POSTGRES_PASSWORD=x REDIS_PASSWORD=x S3_ACCESS_KEY_ID=x \
	S3_SECRET_ACCESS_KEY=x $(BIN)/docker-compose --env-file .env.example
# Runs a command and says what it was and how long it took.
define timed
@start=$$(date +%s); $(2) || { echo "$(1): failed" >&2; exit 1; }; \
	seconds=$$(( $$(date +%s) - start )); printf '%s: %d min %d s\n' "$(1)" $$((seconds / 60)) $$((seconds % 60))
endef

.PHONY: help setup demo check test chaos abuse up lock clean
.DEFAULT_GOAL := help

help:  ## Show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with everything that requirements.lock pins

demo: $(STAMP)  ## Fine-tune on real pictures on this machine and show the result (minutes)
	@$(BIN)/bitune demo

up: $(STAMP)  ## Run everything on this machine until Ctrl-C
	@$(BIN)/bitune up

check: $(STAMP)  ## Format, lint, types, import contracts, Dockerfile and compose files
	$(call timed,ruff format,$(BIN)/ruff format --quiet --check .)
	$(call timed,ruff check,$(BIN)/ruff check --quiet .)
	$(call timed,mypy,$(BIN)/mypy)
	$(call timed,import contracts,$(BIN)/lint-imports)
	$(call timed,hadolint,$(BIN)/hadolint docker/Dockerfile)
	$(call timed,compose,$(COMPOSE_CHECK) -f docker-compose.yml config -q)
	$(call timed,compose with a GPU,$(COMPOSE_CHECK) -f docker-compose.yml -f docker-compose.gpu.yml config -q)

test: check  ## make check and pytest; what CI runs
	$(call timed,pytest,$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder)

chaos: $(STAMP)  ## Disturb a real stack and check that no job is lost: make chaos SEED=4 MINUTES=10 CONTROL=no-fence
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(CONTROL),--control $(CONTROL))

abuse: $(STAMP)  ## Attack the doors and the opening of datasets: make abuse GROUPS="archives pictures" MUTATIONS=200
	@$(BIN)/python -m tests.abuse $(if $(GROUPS),--groups $(GROUPS)) $(if $(MUTATIONS),--mutations $(MUTATIONS)) \
		$(if $(SEED),--seed $(SEED))

lock: $(STAMP)  ## Pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade --no-header --no-annotate \
		--output-file requirements.lock pyproject.toml

clean:  ## Remove .venv, caches and what the demo wrote; the data in .bitune stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist demo-output *.egg-info

$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) from requirements.lock; the first time downloads torch, which takes minutes."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@
	@echo "$(VENV) is ready."
