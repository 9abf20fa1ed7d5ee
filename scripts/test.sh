#!/usr/bin/env bash
# The tests, on as many cores as there are, at most four. Makes the environment if none is active.
# usage: bash scripts/test.sh [--slow] [--no-coverage] [pytest arguments]; -s, which shows prints: one core
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
source scripts/make_env.sh "[test]"

marks=(-m "not slow")
coverage=(--cov=configs --cov=data_preprocess --cov=classifier --cov=tardiff --cov=scripts
    --cov-report=term:skip-covered)
while true; do
    case "${1:-}" in
        --slow) marks=() ;;
        --no-coverage) coverage=() ;;  # which costs a third of the time
        *) break ;;
    esac
    shift
done
# A file's tests share what they trained, so they stay in one process.
workers=(-n auto --maxprocesses 4 --dist loadfile)
for argument in "$@"; do
    if [ "$argument" = -s ]; then workers=(); fi
done
exec "$PYTHON" -m pytest ${coverage[@]+"${coverage[@]}"} ${workers[@]+"${workers[@]}"} ${marks[@]+"${marks[@]}"} "$@"
