#!/usr/bin/env bash
# Makes one table or figure of the paper on the data of a config; docs/reproduce.md maps them.
# Finished training and fits are kept. Results: runs/<experiment>/<item>, or where the tool says.
# usage: bash scripts/reproduce.sh ITEM [config.yaml] [key=value ...]
#   table1 table2 table3 table4 table5 table8 table9 table10 table11 table12 figure2 figure3 figure4
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
source scripts/env.sh

items="table1 table2 table3 table4 table5 table8 table9 table10 table11 table12 figure2 figure3 figure4"
item=${1:-}
case " $items " in
*" $item "*) shift ;;
*)
    echo "error: ITEM '$item': expected one of $items" >&2
    exit 2
    ;;
esac
heed_caller

# What a user gives comes last, and wins over what an item sets.
trained() { bash train.sh "$@" && bash classifier/train.sh "$@"; }
# As many synthetic series as real ones, as in the paper, and no item evaluates more.
generated() { bash generation.sh generation.ratio=1 "evaluation.ratios=[1.0]" "$@"; }
evaluated() { # evaluated PROTOCOLS ARG...
    local protocols=$1
    shift
    bash evaluate.sh "evaluation.dir=$item" "evaluation.protocols=$protocols" \
        "synthetic=[unguided,guided]" "$@"
}
utility_only=(evaluation.fidelity=false evaluation.privacy=false)

case $item in
table1 | table4)
    trained "$@"
    generated "$@"
    evaluated "[TRTR,TSTR]" "${utility_only[@]}" "$@"
    ;;
table2)
    trained "$@"
    generated "$@"
    evaluated "[TRTR,TSRTR]" "evaluation.ratios=[1.0]" "${utility_only[@]}" "$@"
    ;;
figure2)
    trained "$@"
    generated "$@"
    evaluated "[TRTR,TSRTR]" "evaluation.ratios=[0.2,0.4,0.6,0.8,1.0]" "${utility_only[@]}" "$@"
    ;;
table5)
    # Guidance rows of class 1 alone, beside those of all classes. The rank loss compares classes,
    # so one class is guided by its own negative log-likelihood.
    trained "$@"
    generated "$@"
    generated influence.guidance_loss=nll generation.name=guided_nll \
        generation.unguided_too=false "$@"
    generated influence.guidance_loss=nll influence.classes=[1] \
        generation.name=guided_minority generation.unguided_too=false "$@"
    evaluated "[TRTR,TSTR]" "synthetic=[unguided,guided,guided_nll,guided_minority]" \
        "${utility_only[@]}" "$@"
    ;;
table3 | table8 | figure4)
    trained "$@"
    bash scripts/influence.sh "$@"
    ;;
figure3)
    trained "$@"
    bash scripts/tune.sh tuning.w=[-1,-0.5,0,0.5,1,2] "$@"
    ;;
table9 | table10 | table11 | table12)
    trained "$@"
    generated "$@"
    evaluated "[TRTR]" "evaluation.fidelity=true" "evaluation.privacy=true" \
        "evaluation.published=true" "$@"
    ;;
esac
