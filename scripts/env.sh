# Sourced by every shell script of the project, from the repository root. Sets and exports PYTHON:
# the interpreter of the active environment, else of .venv, else the one on the path - the first
# that has the project's packages. A PYTHON set by the caller wins.

# has_packages PYTHON NAME...: whether there is such a Python >= 3.10 that finds the modules; importing
# them would take seconds.
has_packages() {
    "$1" -c 'import sys; from importlib.util import find_spec
sys.exit(sys.version_info < (3, 10) or not all(map(find_spec, sys.argv[1:])))' "${@:2}" >/dev/null 2>&1
}

if [ -z "${PYTHON:-}" ]; then
    # An active environment puts its python first on the path.
    for candidate in ${VIRTUAL_ENV:+python} ${CONDA_PREFIX:+python} .venv/bin/python python python3; do
        if has_packages "$candidate" torch pytorch_lightning omegaconf; then
            PYTHON=$candidate
            break
        fi
    done
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

# glibc returns a freed block to the system and clears it anew for the next layer's tensor. Keeping
# it gains about 5 % of sampling (benchmarks/results.md); a value set by the caller wins.
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-33554432}
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-1073741824}

# One thread a process; stages 3 and 4 use the other cores by processes. Two threads of training gain
# a quarter on two idle cores, and wait for each other three times as long where one of them is busy
# (docs/scaling.md). And so a result does not depend on the number of cores.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
