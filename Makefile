# The front door. `make help` lists every command.

# The newest Python that the pinned packages support; PYTHON=... chooses another that they support.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
INSTALL_PYTHON := install one, or name it with make PYTHON=/path/to/python
# Not ?=: an exported ENV, which shells know too, must not choose what is deployed or destroyed.
ENV = sandbox
MONTHS = 1-12
FROM = errors,dead-letters
RESTORE = everything
UV_VERSION := 0.13.9

# Importing aws_cdk takes 1 s with .pyc files and 10 s without.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20

CDK := node_modules/.bin/cdk
# Every stack of ENV. Not --all: that is those outside of any stage, of which there are none.
STACKS = '$(ENV)/*' -c environment=$(ENV)
# A review needs no account: without these the CLI looks for none.
OFFLINE := env -u AWS_PROFILE -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_SESSION_TOKEN -u CDK_DEFAULT_ACCOUNT \
	-u CDK_DEFAULT_REGION AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true

.DEFAULT_GOAL := help
.PHONY: help demo test check bench-stream bench-etl bench-faults security synth bootstrap diff deploy replay redrive flink-start flink-stop destroy destroy-local lint lock clean install python

help: ## list the commands
	@awk -F':[^#]*## ' '/^[a-z-]+:.*## / {printf "%-16s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install ## run the whole platform on this machine, on real flights; writes build/demo/report.html
	.venv/bin/python -m demo

test: install .venv-checkov/.installed .venv-flink/.installed ## lint, then every test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest

check: install .venv-checkov/.installed ## every gate over the three environments; build/checks has SARIF and JUnit
	rm -rf cdk.out
	$(OFFLINE) $(CDK) synth --quiet --no-lookups || test -f cdk.out/validation-report.json
	.venv/bin/python -m checks cdk.out --linters --sarif build/checks/findings.sarif --junit build/checks/findings.xml

bench-stream: install ## measure the streaming layer against named peers; build/bench has the figures
	.venv/bin/python -m benchmarks.transform
	.venv/bin/python -m benchmarks.end_to_end

bench-etl: install ## measure the Glue job against DuckDB, and what Athena scans; build/bench has the figures
	.venv/bin/python -m benchmarks.etl

bench-faults: install ## account for a million events through every fault; takes a quarter of an hour
	.venv/bin/python -m benchmarks.faults

security: check ## write docs/security.md from what was synthesized
	.venv/bin/python -m checks.page cdk.out > docs/security.md

synth: install ## synthesize ENV (sandbox, staging, production or all) into cdk.out, offline
	$(OFFLINE) $(CDK) synth --quiet --no-lookups $(if $(filter all,$(ENV)),,-c environment=$(ENV))

bootstrap: install ## once, before the first deploy of ENV: prepare the account of your credentials for the CDK
	$(CDK) bootstrap -c environment=$(ENV)

diff: install ## show what deploy would change in the AWS account of your credentials
	$(CDK) diff $(STACKS)

deploy: install ## deploy ENV into the AWS account of your credentials
	$(CDK) deploy $(STACKS)

replay: install ## send the flights and weather of MONTHS (1-12) to ENV's account
	.venv/bin/python -m producers --environment $(ENV) --months $(MONTHS)

redrive: install ## send ENV's failed records again, FROM errors, dead-letters or quarantine, or source with UNDER=a prefix
	.venv/bin/python -m producers redrive --environment $(ENV) --from $(FROM) $(if $(UNDER),--under $(UNDER))

flink-start: install ## start ENV's real-time job, which costs about 5 dollars a day until flink-stop; RESTORE says from what
	.venv/bin/python -m flink_jobs start --environment $(ENV) --restore $(RESTORE)

flink-stop: install ## stop ENV's real-time job; it goes on from there when started again
	.venv/bin/python -m flink_jobs stop --environment $(ENV)

destroy: install ## destroy ENV in the AWS account of your credentials
	$(CDK) destroy $(STACKS)

destroy-local: install ## destroy the demo's stacks, list what is left (nothing), stop the local cloud
	.venv/bin/python -m local destroy
	.venv/bin/python -m local stop

lint: install ## check and format the code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	.venv/bin/mypy

lock: install ## pin every dependency anew from the *.in files
	for f in requirements containers/ml/requirements requirements-dev checks/checkov flink_jobs/flink; do \
		uv pip compile --quiet --universal --python-version 3.11 --no-header $$f.in -o $$f.txt || exit; done
	uv pip compile --quiet --universal --python-version 3.11 --no-header --generate-hashes \
		flink_jobs/delays/requirements.in -o flink_jobs/delays/requirements.txt

clean: ## remove what was built and installed
	@test ! -x .venv/bin/python || .venv/bin/python -m local stop
	rm -rf .venv .venv-checkov .venv-flink node_modules build cdk.out .local

install: .venv/.installed node_modules/.installed build/vendored/.installed ## install what the other commands need; they do so themselves

# A PYTHON that was given is refused even where another one is installed: it would not be used.
python:
ifneq ($(origin PYTHON),file)
	@"$(PYTHON)" -c '$(SUPPORTED)' || { echo "PYTHON=$(PYTHON) is not Python 3.11 or 3.12: $(INSTALL_PYTHON)"; exit 1; }
endif

.venv/.installed: requirements-dev.txt | python
	@test -n "$(PYTHON)" || { echo "Millrace needs Python 3.11 or 3.12: $(INSTALL_PYTHON)"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python -r requirements-dev.txt
	@touch $@

# These need other versions of what the rest has.
.venv-checkov/.installed: checks/checkov.txt
.venv-flink/.installed: flink_jobs/flink.txt
.venv-checkov/.installed .venv-flink/.installed: .venv/.installed
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python $(@D)
	.venv/bin/uv pip install --quiet --compile-bytecode --python $(@D)/bin/python -r $(filter %.txt,$^)
	@touch $@

node_modules/.installed: package-lock.json .venv/.installed
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# Functions run on Lambda's Python and processor, not on this machine's. What an installer notes for itself would differ
# from machine to machine. No dependencies: each requirements.txt lists all that goes in, and Lambda brings boto3.
VENDOR := uv pip install --quiet --no-compile-bytecode --no-deps --only-binary :all: --python-platform aarch64-manylinux_2_28 \
	--python-version 3.14
build/vendored/.installed: $(wildcard lambda/*/requirements.txt) .venv/.installed
	@echo "vendoring the packages that functions bring to Lambda"
	@rm -rf build/vendored
	@for file in lambda/*/requirements.txt; do \
		folder=build/vendored/$$(basename $$(dirname $$file)); \
		$(VENDOR) --target $$folder -r $$file && rm -rf $$folder/bin && \
		find $$folder -path '*.dist-info/*' \( -name RECORD -o -name INSTALLER -o -name REQUESTED \) -delete && \
		cp $$file $$folder/.requirements.txt || exit; done
	@touch $@
