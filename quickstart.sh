#!/usr/bin/env bash
# The whole chain on the sample corpus: vocabulary, records, pretraining, evaluation, conversion, fine-tuning, answers.
# Everything it makes lies in output/quickstart; a second run begins anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
requirements=requirements.txt
source scripts/environment.sh
exec .venv/bin/python scripts/quickstart.py "$@"
