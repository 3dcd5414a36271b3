.DEFAULT_GOAL := help
PROVIDER ?= opsworks
SEEDS ?= 2000
ROUNDS ?= 1

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: ## a shop converges on LocalStack and swaps its app under load; CI=true: unattended
	@demo/run $(PROVIDER)

test: ## everything: format, lints, licences, units, and end to end on real engines
	@tests/run

unit: ## the tests that need nothing but cargo
	@cargo test --locked --features e2e --lib --bins

sim: ## SEEDS=n random seeds of the simulator, from FIRST on; SEED=n plays one again; FAST=1 for very many
	@SIM_SEEDS=$(SEEDS) SIM_FIRST=$(FIRST) SIM_SEED=$(SEED) SIM_SCENE=$(SCENE) SIM_CUT=$(CUT) cargo $(if $(FAST),--config profile.dev.package.evenkeel.opt-level=2) test --locked --test sim -- --nocapture random_seeds

lint: ## format, clippy, licences and advisories
	@tests/run lint

bench: ## what the controller's own work costs as a fleet grows; fails where a ratio is beyond its limit
	@benches/run ratios

bench-swap: ## a rolling update by Docker Swarm and by Evenkeel, on the same engines under load; ROUNDS=n of each
	@benches/run swap --rounds $(ROUNDS)

up: ## LocalStack with real engines behind it, for work by hand
	@localstack/up

down: ## ends all of it: demo, LocalStack, engines, balancers
	@demo/down

.PHONY: help demo test unit sim lint bench bench-swap up down
