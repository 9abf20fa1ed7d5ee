# Sourced by quickstart.sh and test.sh, from the repository root: makes .venv and installs the
# project into it unless an environment with the packages is active already.
# usage: source scripts/make_env.sh [extras]   e.g. "[test]"

EXTRAS=${1:-}
PYTHON=python   # env.sh is not to look for one: below it is chosen or made
source scripts/env.sh

installed() {
    # The marker holds the hash of what was installed: a changed pyproject installs again.
    [ -f .venv/.installed"$EXTRAS" ] && [ "$(cat .venv/.installed"$EXTRAS")" = "$(wanted)" ]
}

wanted() { cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1; }

find_python() {
    for candidate in python3 python python3.13 python3.12 python3.11 python3.10; do
        if has_packages "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "error: Python >= 3.10 is needed, none was found on the path" >&2
    return 1
}

if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && has_packages python configs pytorch_lightning duckdb &&
    { [ -z "$EXTRAS" ] || has_packages python pytest xdist hypothesis jaxtyping beartype; }; then
    PYTHON=python
else
    if ! installed; then
        base=$(find_python)
        echo "making .venv with $($base --version) (a few minutes, about 1.5 GB) ..."
        [ -x .venv/bin/python ] || "$base" -m venv .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            -c constraints.txt -e ".$EXTRAS"
        wanted >.venv/.installed"$EXTRAS"
    fi
    PYTHON=.venv/bin/python
fi
export PYTHON
