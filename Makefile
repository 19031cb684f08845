# `make demo` and `make test` do all of their own set-up on a fresh machine (Python >= 3.11 with pip and make).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AUDIT_VENV := .venv-audit
AUDIT_BIN := $(AUDIT_VENV)/bin
SAM_VENV := .venv-sam
SAM_BIN := $(SAM_VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Tests of the embedded AWS wait as much as they work, so two workers gain also on two cores. Files stay whole: their fixtures are
# dear. They keep their order: integration tests, which take longest, come first.
PARALLEL := -n $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder --durations 10

.DEFAULT_GOAL := help
.PHONY: help install demo test test-thorough test-installed test-all test-random test-aws test-nightly faults soak lint check-definition test-sfn-local types \
  docs screenshots format bench bench-planning bench-scale bench-lambda bench-bundles bench-workflow package smoke image-template sam-validate sam-build \
  audit audit-stack audit-dependencies lock clean

help: ## Say what each target does
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

install: $(VENV)/.installed ## Make the environment (.venv) from the lock file

# The lock has hashes; the project itself has none, so it goes in by a second command.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "batch-predict needs Python 3.11 or newer: make PYTHON=python3.13 install")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## Score the flights of New York 2013 on the embedded local AWS
	@$(BIN)/batch-predict demo

test: install ## Cover every promise once; WORKERS=2
	$(PYTEST) $(PARALLEL) -m "not thorough" --ignore tests/installed tests

test-thorough: install ## Run what `make test` leaves out, and look for more examples of each property
	HYPOTHESIS_PROFILE=thorough $(PYTEST) $(PARALLEL) -m "thorough or hypothesis" --ignore tests/installed tests

test-installed: install ## Install the wheel into an empty environment, and run and deploy with it; needs PyPI
	$(PYTEST) tests/installed

test-all: test test-thorough test-installed ## Run all three

test-random: install ## Run `make test` and `make test-thorough` in one random order
	$(PYTEST) $(PARALLEL) -p randomly --ignore tests/installed tests

test-aws: install ## Run the integration tests on a deployed stack, with your AWS credentials; STACK=name
	$(PYTEST) --aws --stack $(or $(STACK),batch-predict) tests/integration

test-nightly: install ## Run the property tests with 10,000 examples each, those of whole workflows with 1,000
	HYPOTHESIS_PROFILE=nightly $(PYTEST) -m hypothesis --timeout 3600 tests/unit

faults: install ## Inject every fault at every call site of S3; FAULTS_TABLE=table.md writes what came of each
	FAULTS_TABLE=$(FAULTS_TABLE) $(PYTEST) tests/integration/faults

soak: install ## Run random requests under random faults against an oracle; MINUTES=20, SOAK="--seed 7"
	PYTHONPATH=.:tests $(BIN)/python -m soak --minutes $(or $(MINUTES),5) $(SOAK)

lint: install check-definition ## Check style, formatting, the templates, the definition and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tools.pages --check
	$(BIN)/python -m tools.image_template
	$(BIN)/cfn-lint template.yaml build/template.image.yaml
	$(BIN)/hadolint functions/predict/Dockerfile

check-definition: install ## Check the state machine's definition, which no linter of templates opens
	$(BIN)/python -m tools.check_definition

# Pinned; docs/definition.md says how to run the jar, or one that runs already. On Linux the container shares the host's network,
# because what listens on 127.0.0.1 cannot be reached from another one; Docker Desktop reaches it under a name. The key with which
# it signs is in no command line, which other users can see.
STEPFUNCTIONS_LOCAL_IMAGE ?= amazon/aws-stepfunctions-local:2.0.0
SFN_OF_Linux := --network host --env LAMBDA_ENDPOINT=http://127.0.0.1:3001
SFN_OF_Darwin := --publish 127.0.0.1:8083:8083 --env LAMBDA_ENDPOINT=http://host.docker.internal:3001
test-sfn-local: install ## Run the workflow on Step Functions Local: STEPFUNCTIONS_LOCAL_ENDPOINT's, or by Docker
	@if [ -n "$$STEPFUNCTIONS_LOCAL_ENDPOINT" ] || ! docker info > /dev/null 2>&1; then exec $(PYTEST) tests/stepfunctions_local; fi; \
	export LAMBDA_SECRET_ACCESS_KEY="$$($(BIN)/python -c 'import secrets; print(secrets.token_hex(32))')"; \
	container=$$(AWS_SECRET_ACCESS_KEY="$$LAMBDA_SECRET_ACCESS_KEY" docker run --rm --detach $(SFN_OF_$(shell uname)) \
	  --env AWS_DEFAULT_REGION=us-east-1 --env AWS_ACCESS_KEY_ID=test --env AWS_SECRET_ACCESS_KEY --env WAIT_TIME_SCALE=0.1 \
	  $(STEPFUNCTIONS_LOCAL_IMAGE)) || exit; \
	trap "docker stop $$container" EXIT; \
	STEPFUNCTIONS_LOCAL_ENDPOINT=http://127.0.0.1:8083 $(PYTEST) tests/stepfunctions_local

types: install ## Check types of what ships
	$(BIN)/mypy

docs: install ## Write into the documentation what the code knows: tables of fields, the commands' help
	$(BIN)/python -m tools.pages

screenshots: install ## Make the pictures of the documentation anew; needs chromium
	$(BIN)/python -m tools.screenshots

format: install ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## Compare speed and memory with the usual ways; BENCH="--scale 0.02 --rounds 2" for a quick look
	$(BIN)/python -m benchmarks $(or $(BENCH),--memory)

bench-planning: install ## Plan 1 GB in one object and 50,000 small objects on the local S3
	$(BIN)/python -m benchmarks.planning $(BENCH)

bench-scale: install ## Plan and merge 1 KB to 10 TB on an S3 of formulas; BENCH="--cases 1KB 100MB" for a quick look
	PYTHONPATH=.:tests $(BIN)/python -m benchmarks.scale $(BENCH)

bench-lambda: install ## Time and price invocations by memory size, behind Lambda's network; BENCH="--scale 0.1" for a quick look
	$(BIN)/python -m benchmarks.lambda_sizes $(BENCH)

bench-bundles: install ## Time and weigh the package with bundles; BENCH="--scale 0.3 --rounds 2" for a quick look
	$(BIN)/python -m benchmarks.bundles $(BENCH)

bench-workflow: install ## Compare the whole local workflow with the usual pandas handler; BENCH="--scale 0.1 --rounds 1"
	$(BIN)/python -m benchmarks.workflow $(BENCH)

package: ## Build what is deployed into dist/, for both processors; PACKAGE="--architecture arm64" for one
	$(PYTHON) -m batch_predict.setup.package $(PACKAGE)

# What `sam build` calls for each function, from the project's folder (template.yaml, BuildMethod: makefile).
build-%Function:
	$(PYTHON) -m batch_predict.setup.package --artifact $*Function "$(ARTIFACTS_DIR)"

smoke: install ## Run the package in an interpreter without anything else; cold starts with and without byte-code
	$(BIN)/python -m tools.smoke $(SMOKE)
	$(PYTEST) --whole-table --timeout 3600 tests/differential

image-template: install ## Generate build/template.image.yaml: the prediction function as a container image
	$(BIN)/python -m tools.image_template

sam-validate: $(SAM_VENV)/.installed ## Check the template with the SAM CLI; without network
	$(SAM_BIN)/sam validate --lint --region us-east-1

sam-build: $(SAM_VENV)/.installed ## Build all functions with the SAM CLI, without a container
	$(SAM_BIN)/sam build

# Apart from the project's, as the audit's. --no-deps: the lock is whole, and pip takes `boto3[crt]` and `boto3` for two.
$(SAM_VENV)/.installed: requirements-sam.lock
	$(PYTHON) -m venv $(SAM_VENV)
	$(SAM_BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-sam.lock
	$(SAM_BIN)/pip check
	@touch $@

audit: audit-stack audit-dependencies ## Do both of the following

audit-stack: $(AUDIT_VENV)/.installed ## Check template and GitHub workflow for insecure settings; without network
	@mkdir -p build
	sed '/^    Condition: /d' template.yaml > build/template.yaml # checkov skips what is not made by default
	$(AUDIT_BIN)/checkov
	$(AUDIT_BIN)/zizmor --offline --persona pedantic .github

# --strict: a package that the service does not know is a failure, never a silence.
audit-dependencies: $(AUDIT_VENV)/.installed ## Ask PyPI for known vulnerabilities of everything locked
	$(AUDIT_BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
	  -r requirements.lock -r requirements-audit.lock -r requirements-sam.lock -r requirements-kernel.lock

# Apart from the project's: checkov pins old versions of what we use.
$(AUDIT_VENV)/.installed: requirements-audit.lock
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.lock
	@touch $@

lock: ## Resolve the dependencies anew (needs uv)
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	  --all-extras --group dev --group bench pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group audit -o requirements-audit.lock
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group sam -o requirements-sam.lock
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group kernel -o requirements-kernel.lock

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) $(AUDIT_VENV) $(SAM_VENV) .demo .batch-predict .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist .aws-sam
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
