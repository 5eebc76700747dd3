# What people do with this repository; `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The full form of one fault test: `make soak T=T3`.
T ?=

.PHONY: help dev test lint fmt bench soak audit setup

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: ## run everything in one process on this machine
	@scripts/setup.sh build
	cargo run -p turnpike -- dev

test: setup ## run every check and every test; the last line is the sum
	@.venv/bin/python scripts/run.py

lint: setup ## run the checks alone
	@.venv/bin/python scripts/run.py fmt clippy fdb

fmt: ## bring the code into its one shape
	cargo fmt --all

bench: ## measure the gateway beside nginx
	@scripts/setup.sh bench
	cargo build --release --workspace --bins
	@.venv/bin/python scripts/bench.py

soak: setup ## run the full form of a fault test, such as T=T3, or of all
	cargo test --release -p turnpike-tests -p turnpike-domain -p turnpike-gateway -p turnpike-store \
		--no-fail-fast -- --ignored --nocapture \
		$(if $(T),$(shell echo '$(T)' | tr A-Z a-z)_)
	cargo build --workspace --bins
	TURNPIKE_SOAK=1 .venv/bin/python -m pytest -q -p no:cacheprovider tests/clients -m soak \
		$(if $(T),-k test_$(shell echo '$(T)' | tr A-Z a-z)_) || test $$? -eq 5

audit: ## check licences, sources and bans; needs cargo-deny
	cargo deny check bans licenses sources

setup:
	@scripts/setup.sh
