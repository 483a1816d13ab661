#!/usr/bin/env bash
# Lint, types and all tests; makes the environment first if it is missing. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
requirements=requirements-dev.txt
source scripts/environment.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest -n 2 "$@"
