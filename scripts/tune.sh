#!/usr/bin/env bash
# Chooses the guidance strength on val_select and draws influence and AUROC against it.
# Stage 1 must have run, and stage 2 where its classifier guides (influence.estimator=classifier).
# usage: bash scripts/tune.sh [config.yaml] [tuning.w=[-0.5,0,0.5]] [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
run_entry scripts.tune "$@"
