#!/usr/bin/env bash
# The tests, on as many cores as there are, at most four. Makes the environment if none is active.
# usage: bash scripts/test.sh [--slow] [pytest arguments]; with -s, which shows prints, on one core
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
source scripts/make_env.sh "[test]"

marks=(-m "not slow")
if [ "${1:-}" = --slow ]; then
    marks=()
    shift
fi
# A file's tests share what they trained, so they stay in one process.
workers=(-n auto --maxprocesses 4 --dist loadfile)
for argument in "$@"; do
    if [ "$argument" = -s ]; then workers=(); fi
done
coverage=(--cov=configs --cov=data_preprocess --cov=classifier --cov=tardiff --cov=scripts
    --cov-report=term:skip-covered)
exec "$PYTHON" -m pytest "${coverage[@]}" ${workers[@]+"${workers[@]}"} ${marks[@]+"${marks[@]}"} "$@"
