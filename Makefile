# Everything a developer runs by hand. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help bootstrap demo build test sim sim-show sim-bugs fmt lint load load-full soak bench fuzz deny

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: ## Check (and on Debian install) what building needs
	@scripts/bootstrap.sh

demo: bootstrap ## Build and run the demo: publish, validate, deliver, fail, retry, on this machine alone
	cargo run --quiet --package posthorn -- demo

build: bootstrap ## Build the binary that is deployed: target/dist/posthorn (optimised across crates, which takes its time)
	cargo build --profile dist --package posthorn

test: bootstrap fmt lint ## Format check, lints, all tests (cold: under 35 minutes on two cores)
	# The suites run the real binary; building it first keeps them from meeting an old one.
	cargo build --package posthorn
	cargo test --workspace

sim: bootstrap ## Simulate SEEDS=10000 seeds, a third of each kind; or from FIRST=… on: crashes, disks, networks, endpoints, changes (300 of them are in `make test`)
	cargo build --release --workspace --bin posthorn-sim
	$${CARGO_TARGET_DIR:-target}/release/posthorn-sim $(or $(SEEDS),10000) $(FIRST)

sim-show: bootstrap ## Replay one seed, SEED=7, with everything that happens in it
	cargo build --release --workspace --bin posthorn-sim
	$${CARGO_TARGET_DIR:-target}/release/posthorn-sim show $(SEED)

sim-bugs: bootstrap ## Plant bugs and see that the simulation finds each, and after how many seeds
	cargo test --workspace --features posthorn-sim/planted --test planted -- --nocapture

fmt: ## Check the format
	cargo fmt --all --check

lint: ## Clippy, warnings are errors
	cargo clippy --workspace --all-targets -- -D warnings

load: bootstrap ## Measure against the bare forwarders in up to 5 minutes (SCENARIOS="fan-out-1 …" for some); writes load-tests/RESULTS.md
	cargo build --release --package posthorn --package posthorn-load
	cargo run --quiet --release --package posthorn-load -- run --minutes 5 $(SCENARIOS)

load-full: bootstrap ## The same of what is deployed, with all scenarios, more rounds and longer loads, in up to 40 minutes
	cargo build --profile dist --package posthorn --package posthorn-load
	cargo run --quiet --profile dist --package posthorn-load -- run --full --minutes 40 $(SCENARIOS)

MINUTES ?= 60
soak: bootstrap ## MINUTES=60 at half of the ceiling with faults at random (SEED=n repeats their choice); writes load-tests/SOAK.md
	cargo build --release --package posthorn --package posthorn-load
	cargo run --quiet --release --package posthorn-load -- soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) --out load-tests/SOAK.md

bench: ## Micro-benchmarks of the hot path: times, and instruction counts against the kept ones (bench/INSTRUCTIONS.md)
	@scripts/bootstrap.sh valgrind
	cargo bench --package posthorn-bench
	bench/instructions.sh

fuzz: ## How fuzzing works here
	@echo "Corpora, seeded mutations and property tests run in 'make test'."
	@echo "Longer: PROPTEST_CASES=100000 cargo test --workspace; or with cargo-fuzz, on stable:"
	@echo "  cargo fuzz run -s none {decode,tape,frame,filter}   (fuzz/README.md)"

deny: ## Bans, licences and sources, with cargo-deny where it is installed
	cargo deny --config .deny.toml check bans licenses sources
