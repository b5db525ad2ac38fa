# ironic-agent: see README.md. `make help` lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash

TRIPLE := x86_64-unknown-linux-gnu
export AGENT ?= $(CURDIR)/target/$(TRIPLE)/release/ironic-agent
export SHIM ?= $(CURDIR)/target/$(TRIPLE)/release/ironic-shim

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: build
build: ## Build both static binaries
	cargo build --release --locked

.PHONY: test
test: lint unit arguments qcow2 differential ironic ## Everything, from the fastest ring to the slowest

.PHONY: tools
tools:
	.ci/tools

.PHONY: lint
lint: tools ## Format, clippy, protocol lint, licences and sources
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cd proto && ../target/tools/node_modules/.bin/buf lint
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo deny --log-level error check licenses bans sources

.PHONY: unit
unit: ## Unit, property and contract tests
	export GRPC_PYTHON TEST_PROGRAMS && GRPC_PYTHON="$$(tests/contract/grpc-python)" && \
	    TEST_PROGRAMS="$$(tests/programs)" && cargo test --workspace --locked

.PHONY: arguments
arguments: ## What the agent gives to programs, tried with the programs
	tests/arguments/run

.PHONY: fuzz
fuzz: ## Damaged input for every parser, FUZZ_SECONDS (60) each, FUZZ_SEED for other damage
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} \
	    cargo test --locked -p ironic-agent --lib -- foreign_bytes --nocapture

.PHONY: qcow2
qcow2: build ## Images that QEMU makes, on the disk as qemu-img converts them
	tests/qcow2/run

.PHONY: differential
differential: build ## The same requests to the Python agent and to ours
	tests/differential/run

.PHONY: ramdisk
ramdisk: build ## target/ramdisk/kernel and target/ramdisk/initramfs
	ramdisk/build

.PHONY: ironic
ironic: ramdisk ## A real Ironic deploys virtual machines
	cargo build --locked --example hardware-manager
	tests/ironic/run

.PHONY: demo
demo: ramdisk ## The main job on real input, with a live timeline; IMAGE=roomy.raw.zst deploys another one
	tests/ironic/demo $(if $(IMAGE),--image $(IMAGE))

.PHONY: bench
bench: build ## Ours beside the Python agent, in one run
	tests/bench/run
