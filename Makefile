# The commands of this project. `make demo` and `make test` do all set-up, inside this folder.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
TOOLS := $(CURDIR)/.tools
PREFIX ?= /usr/local

# Where the machine has no OpenSSL headers, `make tools` unpacks Debian's.
ifneq ($(wildcard $(TOOLS)/root/usr/include/openssl/ssl.h),)
export OPENSSL_INCLUDE_DIR := $(TOOLS)/root/usr/include
export OPENSSL_LIB_DIR := $(TOOLS)/root/usr/lib/$(shell cc -print-multiarch)
export OPENSSL_STATIC := 1
endif

# A snapshot that differs fails its test, and nothing is written beside it.
export INSTA_UPDATE ?= no

.PHONY: help tools demo test check bench soak mutants fuzz install generate generated

help:
	@echo 'make demo      a small build farm comes up on this machine and tells its story; KEEP=1 leaves it up'
	@echo 'make test      every test, with real Packer and an emulated AWS'
	@echo 'make check     format, clippy, documentation, dependency policy, systemd unit, generated files'
	@echo 'make fuzz      search for inputs that break a reader, by coverage; FUZZ_SECONDS for each target'
	@echo 'make bench     the benchmarks of docs/benchmarks.md'
	@echo 'make soak      simulation, kill loop, crash matrix, fault table and storm at length; an hour or more (PARTS=, SEED=)'
	@echo 'make mutants   proves that the tests catch the bugs of tests/mutants/ (half an hour)'
	@echo 'make install   build for release and install below PREFIX ($(PREFIX)), DESTDIR honoured'
	@echo 'make generate  write the generated files anew'

tools:
	@scripts/tools.sh

# KEEP=1 leaves the farm up to play with, until Ctrl-C.
KEEP ?=

# In a make of its own, so that OpenSSL headers that were just unpacked are seen.
demo: tools
	@$(MAKE) --no-print-directory build
	@KEEP=$(KEEP) exec $(TOOLS)/venv/bin/python scripts/demo.py

.PHONY: build
build:
	@cargo build --locked --bin reconciler

test: tools
	@$(MAKE) --no-print-directory run-tests

.PHONY: run-tests
run-tests:
	@$(TOOLS)/venv/bin/python -m unittest discover --start-directory tests/python
	@cargo test --locked --workspace --no-fail-fast
	@$(TOOLS)/venv/bin/python scripts/walk.py --small

check: tools
	@$(MAKE) --no-print-directory run-checks

.PHONY: run-checks
run-checks:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --lib
	$(TOOLS)/venv/bin/python scripts/dependency_policy.py
	scripts/check_unit.sh
	$(TOOLS)/venv/bin/python scripts/guards.py
	$(TOOLS)/venv/bin/python scripts/mutants.py --check
	$(MAKE) --no-print-directory generated

# The generated files are compared by tests; this runs only those.
generated:
	cargo test --locked --lib -- config::schema metrics::table

generate:
	RECONCILER_UPDATE_GENERATED=1 cargo test --locked --lib -- config::schema metrics::table

bench: tools
	@cargo build --locked --release --bin reconciler --example seed_inventory
	@exec $(TOOLS)/venv/bin/python scripts/bench

# What `make test` does in small, at length: scripts/soak.py says which parts there are and what can be set.
soak: tools
	@exec $(TOOLS)/venv/bin/python scripts/soak.py

# MUTANTS="name…" tries only those.
mutants: tools
	@exec $(TOOLS)/venv/bin/python scripts/mutants.py $(MUTANTS)

# By coverage, with cargo-fuzz (cargo install cargo-fuzz). It asks for a nightly compiler; the pinned one does as well, for nothing here
# needs a sanitizer: there is no unsafe code. One target: FUZZ_TARGETS=hcl. What is found goes to fuzz/target/corpus, what fails to
# fuzz/artifacts.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := machine_output parameters configuration git_objects fingerprint hcl record release
fuzz:
	@command -v cargo-fuzz >/dev/null || { echo 'cargo-fuzz is missing: cargo install cargo-fuzz' >&2; exit 1; }
	@for target in $(FUZZ_TARGETS); do \
	  found=fuzz/target/corpus/$$target; mkdir -p $$found; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target $$found fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048; \
	done

install:
	cargo build --locked --release --bin reconciler
	@$(MAKE) --no-print-directory install-files

# What is built already, below PREFIX.
BINARY ?= target/release/reconciler
.PHONY: install-files
install-files:
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/reconciler
	install -D -m 644 config/reconciler.yaml $(DESTDIR)$(PREFIX)/share/reconciler/reconciler.yaml
	install -D -m 644 config/reconciler.schema.json $(DESTDIR)$(PREFIX)/share/reconciler/reconciler.schema.json
	install -D -m 644 config/reconciler-json.schema.json $(DESTDIR)$(PREFIX)/share/reconciler/reconciler-json.schema.json
	install -D -m 644 deploy/reconciler.yaml $(DESTDIR)$(PREFIX)/share/reconciler/service.yaml
	install -d $(DESTDIR)$(PREFIX)/share/reconciler/prometheus
	install -m 644 deploy/prometheus/reconciler.rules.yml deploy/prometheus/reconciler.dashboard.json $(DESTDIR)$(PREFIX)/share/reconciler/prometheus
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/local/bin|$(PREFIX)/bin|' deploy/reconciler.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/reconciler.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/reconciler.service
