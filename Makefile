# make demo   the whole loop on generated traffic        make test    all tests but Kafka's
# make setup  .venv with streamad and its tools           make check   linter, formatter, types
# make test-kafka   the tests that need a real Kafka broker, which they fetch and start (java and mvn, or KAFKA_HOME)
# make chaos        a cluster's scorers, killed 20 times over 300,000 records: what was lost, and what said twice
# All of them set up what they need first. Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-kafka chaos check

help:
	@sed -n 's/^# //p' Makefile | head -5

setup: .venv/dev.stamp

demo: .venv/streamad.stamp
	@.venv/bin/streamad demo

test: .venv/dev.stamp
	.venv/bin/python -m pytest -m "not kafka" -n auto --maxprocesses 4 --dist loadfile

test-kafka: .venv/dev.stamp
	.venv/bin/python -m pytest -m kafka

chaos: .venv/dev.stamp
	.venv/bin/python tests/kafka_chaos.py

check: .venv/dev.stamp
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "streamad needs Python 3.11 or newer, which $(PYTHON) is not: name one with make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

# The stamps are younger than what they were made from, so that a second call does nothing.
.venv/streamad.stamp: .venv/bin/pip pyproject.toml deploy/constraints.txt
	@echo "installing streamad into .venv (some minutes the first time)" >&2
	@$(PIP) install -c deploy/constraints.txt -e .
	@touch $@

.venv/dev.stamp: .venv/bin/pip pyproject.toml deploy/constraints.txt
	@echo "installing streamad and its development tools into .venv (some minutes the first time)" >&2
	@$(PIP) install -c deploy/constraints.txt -e '.[dev]'
	@touch .venv/streamad.stamp $@
