# Every target works from a fresh clone: the environment .venv is made when it is needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
export PATH := $(CURDIR)/.venv/bin:$(PATH)

S ?=
D ?=
C ?=
N ?=

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: ## Make .venv with everything that development and tests need
	@tests/setup test

.PHONY: demo
demo: ## Start real hosts, provision them, release onto them (LAB=local: this machine, no Docker)
	@tests/setup demo
	@LAB="$(LAB)" lab/demo

.PHONY: demo-clean
demo-clean: ## Remove everything that the demo made
	@lab/demo clean

.PHONY: test
test: setup ## Run lint to molecule, side by side; of the long ones a part, as CONTRIBUTING.md says
	@tests/run.py

.PHONY: lint sanity unit build local
lint: setup ## yamllint, ansible-lint (production profile), ruff, mypy, changelog
	@tests/run.py lint
sanity: setup ## ansible-test sanity on what the built artifact holds
	@tests/run.py sanity
unit: setup ## Tests that need no host
	@tests/run.py unit
build: setup ## Build the artifact, install it into an empty path, resolve its parts by full name
	@tests/run.py build
local: setup ## The demo and releases on a local connection, no Docker
	@tests/run.py local

.PHONY: test-demo
test-demo: setup ## The demo in Docker, from a fresh copy of the checkout
	@tests/run.py demo

.PHONY: application
application: setup ## The sample application on Laravel 8, 10 and 13, in Docker; make test has 13 alone
	@tests/run.py application

.PHONY: molecule
molecule: setup ## The Molecule scenarios of make test; S=nginx runs any one by name, D=debian12 on one distribution
	@tests/run.py molecule --scenario "$(S)" --distro "$(D)"

.PHONY: bench bench-web
bench: setup ## A release beside the bare script of the same steps, and where its time goes; S=small N=4 takes one size, hosts
	@tests/bench/release.py $(if $(S),--size $(S)) $(if $(N),--hosts $(N))
bench-web: setup ## On the demo's host: requests per second against the stock configuration
	@tests/bench/web.py

.PHONY: faults faults-short endurance kills
faults: setup ## Releases in the lab while everything goes wrong; C="kill-build disk-stage" runs those cases alone
	@tests/faults/run.py $(C)
faults-short: setup ## A short selection of them
	@tests/faults/run.py short
endurance: setup ## Fifty releases in a row under load, jobs counted; N=10 makes ten
	@tests/faults/endurance.py $(if $(N),-n $(N))
kills: setup ## Records of 100 releases that are killed at random moments, no Docker; N=10 kills ten
	@tests/faults/kills.py $(if $(N),-n $(N))

.PHONY: format
format: setup ## Format the Python files
	@ruff check --quiet --fix .; ruff format .

.PHONY: docs
docs: setup ## Fill the tables of options in roles/*/README.md and docs/checks.md
	@tests/docs.py

.PHONY: changelog
changelog: setup ## Write CHANGELOG.md from changelogs/fragments, for the version in galaxy.yml
	@antsibull-changelog release --update-existing --refresh --reload-plugins
