#!/usr/bin/env bash
# From a fresh clone to a result table: makes the environment if none is active, then runs all four
# stages on the embedded simulated cohort. Run it again to go on after an interruption.
# usage: bash scripts/quickstart.sh [config.yaml] [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
source scripts/make_env.sh ""   # an argument, or it would take those of this script

heed_caller
[ $# -gt 0 ] || { set -- configs/base/demo.yaml; TARDIFF_CALLER=$PWD; }  # that of this repository
started=$SECONDS
say() { printf '\n== %s\n' "$*"; }

# Stage 2 needs nothing of stage 1, which leaves a core free: it runs beside it, behind it where no core
# is free, and its output comes after that of stage 1, through a pipe, as it was written.
scratch=$(mktemp -d)
end() {
    if [ -n "${stage2:-}" ]; then
        kill "$stage2" 2>/dev/null || true
        wait "$stage2" || true
    fi
    rm -rf "$scratch"
}
trap end EXIT
mkfifo "$scratch/stage2"

say "data set                     python -m data_preprocess.build $*"
"$PYTHON" -m configs data_preprocess.build "$@"
nice -n 5 bash classifier/train.sh "$@" data.rebuild=false >"$scratch/stage2" 2>&1 &
stage2=$!
exec 3<"$scratch/stage2"
say "1/4 diffusion model          bash train.sh $*"
bash train.sh "$@" data.rebuild=false 3<&-
say "2/4 task classifier          bash classifier/train.sh $*"
cat <&3
code=0
wait "$stage2" || code=$?
stage2=
[ "$code" = 0 ] || exit "$code"
say "3/4 guided generation        bash generation.sh $*"
bash generation.sh "$@"
say "4/4 evaluation               bash evaluate.sh $*"
bash evaluate.sh "$@"
say "done in $((SECONDS - started)) s"
