# SPDX-License-Identifier: Apache-2.0
# Habits of the house, over meson and ninja. `make help` lists them.
# Each target installs what it needs and the machine lacks (tools/setup), then does its work.

.DEFAULT_GOAL := build
MESON_FLAGS ?=
PLAIN_FLAGS ?= # for the build without sanitizers only
SANITIZED := -Db_sanitize=address,undefined -Db_lundef=false

.NOTPARALLEL:
.PHONY: help build run test test-fast lint format asan bench coverage fuzz clean

help: ## Lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: setup-build build/build.ninja ## Builds the daemon: build/berth
	@ninja --quiet -C build berth tools/quickstart.gguf

run: setup-run build/build.ninja ## Builds, and starts berth with a small real model (PORT=N for another port than 8080)
	@ninja --quiet -C build berth tools/quickstart.gguf
	@exec tools/quickstart

test: setup-test build/build.ninja build/asan/build.ninja ## Runs all tests, then again under ASan and UBSan; the browser's there only
	@ninja --quiet -C build
	@ninja --quiet -C build/asan
	@tools/test build build/asan

test-fast: setup-test build/build.ninja ## Runs all tests once, without sanitizers
	@ninja --quiet -C build
	@tools/test build

asan: setup-test build/asan/build.ninja ## Builds build/asan with ASan and UBSan, and runs all tests on it
	@ninja --quiet -C build/asan
	@tools/test build/asan

lint: setup-lint build/build.ninja ## Checks layers, format, headers, and clang-tidy's findings
	@tools/lint build

format: setup-lint ## Formats the C sources in place
	@find src tests tools -name node_modules -prune -o -name '*.[ch]' -print | xargs clang-format -i

bench: setup-bench build/release/build.ninja ## Measures against nginx, HAProxy and others, side by side
	@ninja --quiet -C build/release
	@tests/bench/run build/release/berth

coverage: setup-coverage build/coverage/build.ninja ## Runs all tests and reports line coverage by room
	@ninja --quiet -C build/coverage
	@tools/coverage build/coverage

fuzz: setup-fuzz build/fuzz/build.ninja ## Runs the fuzzers, each for FUZZ_SECONDS (60)
	@ninja --quiet -C build/fuzz
	@tools/fuzz build/fuzz

clean: ## Removes all that was built, fetched tools included
	rm -rf build

setup-%:
	@tools/setup $*

build/build.ninja:
	@tools/configure build $(MESON_FLAGS) $(PLAIN_FLAGS)

build/asan/build.ninja:
	@tools/configure build/asan $(SANITIZED) $(MESON_FLAGS)

build/release/build.ninja:
	@tools/configure build/release --buildtype=release $(MESON_FLAGS)

build/coverage/build.ninja:
	@tools/configure build/coverage --buildtype=debug -Db_coverage=true $(MESON_FLAGS)

build/fuzz/build.ninja:
	@CC=clang tools/configure build/fuzz $(SANITIZED) -Dc_args=-fsanitize=fuzzer-no-link $(MESON_FLAGS)
