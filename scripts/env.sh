# Sourced by every shell script of the project, from the repository root. Sets and exports PYTHON:
# the interpreter of the active environment, else of .venv, else the one on the path - the first
# that has the project's packages. A PYTHON set by the caller wins.

has_packages() {
    command -v "$1" >/dev/null 2>&1 && "$1" - >/dev/null 2>&1 <<'PY'
import importlib.util, sys
wanted = ("torch", "pytorch_lightning", "omegaconf")
sys.exit(sys.version_info < (3, 10) or not all(map(importlib.util.find_spec, wanted)))
PY
}

if [ -z "${PYTHON:-}" ]; then
    # An active environment puts its python first on the path.
    if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && has_packages python; then
        PYTHON=python
    else
        for candidate in .venv/bin/python python python3; do
            if has_packages "$candidate"; then
                PYTHON=$candidate
                break
            fi
        done
    fi
    if [ -z "${PYTHON:-}" ]; then
        {
            echo "error: no Python >= 3.10 with this project's packages was found. Make one with"
            echo "    bash scripts/quickstart.sh         (makes .venv and runs the demo)"
            echo "or  python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e ."
            echo "or  conda env create -f environment.yaml && conda activate tardiff"
        } >&2
        exit 1
    fi
fi
export PYTHON

# resolve_config CALLER_DIR ARG...: fills the array ARGS with the arguments; a relative .yaml path
# that exists below CALLER_DIR, where the user typed it, is made absolute.
resolve_config() {
    local caller=$1 argument
    shift
    ARGS=()
    for argument in "$@"; do
        case $argument in
            /* | *=*) ;;
            *.yaml | *.yml) [ ! -f "$caller/$argument" ] || argument=$caller/$argument ;;
        esac
        ARGS+=("$argument")
    done
}

# glibc returns a freed block to the system and clears it anew for the next layer's tensor. Keeping
# it gains about 5 % of sampling (benchmarks/results.md); a value set by the caller wins.
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-33554432}
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-1073741824}
