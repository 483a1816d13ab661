# Sourced by quickstart.sh and test.sh, from the repository root: makes .venv, or brings it up to date. The caller names in
# `requirements` what it needs; versions are those of requirements.lock.

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  cat >&2 <<'MESSAGE'
error: Python 3.11 was not found (TensorFlow 2.15 ends there, transformers 5.23 begins there). Get it with one of
  uv:     uv python install 3.11 && PYTHON="$(uv python find 3.11)" ./quickstart.sh
  pyenv:  pyenv install 3.11 && PYTHON="$(pyenv prefix 3.11)/bin/python" ./quickstart.sh
  apt:    sudo apt install python3.11 python3.11-venv   (Debian 12; Ubuntu 22.04; elsewhere the deadsnakes archive)
MESSAGE
  return 1
}

# The stamp is a copy of what was installed from, written last: an interrupted installation has none.
stamp=.venv/installed-$requirements
if ! cat requirements*.txt requirements.lock | cmp -s - "$stamp"; then
  python=$(find_python) || exit 1
  "$python" -m venv .venv || { echo "error: $python cannot make .venv: is its venv module (python3.11-venv) there?" >&2; exit 1; }
  echo "Installing $requirements into .venv (the first time a few minutes, about 3 GB) ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" -c requirements.lock
  if [ "$requirements" = requirements-dev.txt ]; then  # its head says why without dependencies, and last
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-onnx.txt
    cat requirements*.txt requirements.lock > .venv/installed-requirements.txt  # which are among them
  fi
  cat requirements*.txt requirements.lock > "$stamp"
fi
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3} TF_ENABLE_ONEDNN_OPTS=${TF_ENABLE_ONEDNN_OPTS:-1} TOKENIZERS_PARALLELISM=${TOKENIZERS_PARALLELISM:-false}
