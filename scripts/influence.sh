#!/usr/bin/env bash
# Influence as a tool: ranks the series of any labelled set and tests the prediction.
# lds=true: does influence predict retraining of a downstream model here? Minutes; stage 3 heeds it.
# Stage 2 must have run, except with lds=true influence_report.lds_estimators=[convex,boosted].
# usage: bash scripts/influence.sh [config.yaml] [set=split|path] [lds=true] [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
run_entry scripts.influence_report.__main__ "$@"
