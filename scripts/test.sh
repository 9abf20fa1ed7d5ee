#!/usr/bin/env bash
# The tests. Makes the environment if none is active.
# usage: bash scripts/test.sh [--slow] [pytest arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/make_env.sh "[test]"

marks=(-m "not slow")
if [ "${1:-}" = --slow ]; then
    marks=()
    shift
fi
# Many small models: threads would only wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$PYTHON" -m pytest "${marks[@]}" "$@"
