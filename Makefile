# make demo   1,000 simulated clients through the gateway, in network namespaces (REPORT=file.json for the figures as JSON)
# make test   everything CI runs; root for the parts that need namespaces, skipped loudly without
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

demo:
	tests/install.sh build demo
	cargo build --release --locked -p culvert -p culvert-bench
	tests/as-root.sh target/release/culvert-bench demo $(if $(REPORT),--report $(REPORT))

test:
	tests/install.sh build demo test bench lab
	tests/run.sh

clean:
	cargo clean

.PHONY: help demo test clean
