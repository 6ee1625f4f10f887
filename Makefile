# Every target builds with one profile (--release) into one target folder, so that RocksDB's C++ is compiled once.
# Cargo's own defaults decide where that folder is: ./target, or CARGO_TARGET_DIR when it is set.

CARGO ?= cargo
EVENTS ?= 5000000
RUNS ?= 3
KILLS ?= 5000
SEEDS ?= 20000
SECONDS ?= 50
# Connectors that are not in the default features; their tests want servers: scripts/services.
FEATURES ?= full

# Cargo brings its own job server; flags meant for make would only confuse it and the C++ build below it.
unexport MAKEFLAGS MFLAGS
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup demo test torture mutants miri fuzz bench check examples

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## check for a compiler and libclang, install them when allowed
	@scripts/setup

demo: setup ## run the tour: one job from source to plots, on bundled or generated data
	$(CARGO) run --release -p examples --example tour

test: setup ## run every test, doc-tests included; those that want a server and have none say so
	$(CARGO) test --release --workspace --features $(FEATURES)

torture: setup ## lose power in simulation, kill real jobs, check every row (SEEDS=20000 KILLS=5000)
	HEADWATER_SEEDS=$(SEEDS) $(CARGO) test --release --workspace --test topology_equivalence -- --nocapture crashes
	$(CARGO) test --release --workspace --test wal -- --nocapture crashes
	$(CARGO) build --release --workspace --bins --features failpoints
	"$${CARGO_TARGET_DIR:-target}/release/torture" --kills $(KILLS)

mutants: setup ## give the engine one mistake after the other, and see that the tests notice each
	$(CARGO) build --release --workspace --bins --features failpoints
	"$${CARGO_TARGET_DIR:-target}/release/mutants"

# Tree Borrows, because the relative pointers of rkyv look beyond the reference they start from.
miri: ## check the unsafe code of batches (needs nightly Rust with the components miri and rust-src)
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-symbolic-alignment-check" CARGO_TARGET_DIR=target/miri \
	  $(CARGO) +nightly miri test -p headwater --no-default-features --lib --test derive -- batch --skip records_come_out

# What a run finds out is kept in target/fuzz; engine/fuzz/corpus is what `make test` tries, too.
fuzz: ## arbitrary bytes for all that reads bytes (SECONDS=50 each; needs nightly Rust and cargo install cargo-fuzz)
	cd engine && for target in log state manifest csv json options; do \
	  mkdir -p ../target/fuzz/corpus/$$target && CARGO_TARGET_DIR=../target/fuzz $(CARGO) +nightly fuzz run $$target \
	    ../target/fuzz/corpus/$$target fuzz/corpus/$$target -- -max_total_time=$(SECONDS) -timeout=60 -rss_limit_mb=2048 \
	    -print_final_stats=1 || exit 1; done

bench: setup ## compare with the hand-written limit and the peers (EVENTS=5000000 RUNS=3)
	scripts/bench $(EVENTS) $(RUNS)

examples: setup ## run every example and compare its output with examples/golden
	scripts/examples

check: ## everything CI checks: format, lints, docs, licences, tests, examples
	CI=true .ci/run
