.DEFAULT_GOAL := help
PROVIDER ?= opsworks

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: ## a shop converges on LocalStack and swaps its app under load; CI=true: unattended
	@demo/run $(PROVIDER)

test: ## everything: format, lints, licences, units, and end to end on real engines
	@tests/run

unit: ## the tests that need nothing but cargo
	@cargo test --locked --features e2e --lib --bins

lint: ## format, clippy, licences and advisories
	@tests/run lint

up: ## LocalStack with real engines behind it, for work by hand
	@localstack/up

down: ## ends all of it: demo, LocalStack, engines, balancers
	@demo/down

.PHONY: help demo test unit lint up down
