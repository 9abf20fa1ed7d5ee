#!/usr/bin/env bash
# From a fresh clone to a result table: makes the environment if none is active, then runs all four
# stages on the embedded simulated cohort. Run it again to go on after an interruption.
# usage: bash scripts/quickstart.sh [config.yaml] [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
source scripts/make_env.sh ""   # an argument, or it would take those of this script

source scripts/env.sh
resolve_config "$caller" "$@"
set -- ${ARGS[@]+"${ARGS[@]}"}
[ $# -gt 0 ] || set -- configs/base/demo.yaml
started=$SECONDS
say() { printf '\n== %s\n' "$*"; }

say "1/4 diffusion model          bash train.sh $*"
bash train.sh "$@"
say "2/4 task classifier          bash classifier/train.sh $*"
bash classifier/train.sh "$@"
say "3/4 guided generation        bash generation.sh $*"
bash generation.sh "$@"
say "4/4 evaluation               bash evaluate.sh $*"
bash evaluate.sh "$@"
say "done in $((SECONDS - started)) s"
