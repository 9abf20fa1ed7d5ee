"""Rows and reports that verdicts are given on."""

import dataclasses

from scripts.quality.common.metric_report import MetricReport
from scripts.results.results import Results
from scripts.utility.bootstrap import Difference
from scripts.utility.summary import Summary


def difference(low, high, p=0.01, p_holm=None, p_lost=None):
    """Of a loss as certain against its margin as against 0, unless `p_lost` is given."""
    if p_lost is None:
        p_lost = p if p_holm is None else p_holm
    mean = (low + high) / 2
    return Difference(
        mean=mean,
        low=low,
        high=high,
        p=p,
        p_lost=p_lost,
        test_low=low,
        test_high=high,
        p_holm=p_holm,
    )


def row(vs_real, *, seeds=5):
    return Summary(
        protocol="TSRTR",
        generator="guided",
        ratio=1.0,
        model="classifier",
        metric="auroc",
        num_seeds=seeds,
        mean=0.8,
        sd=0.01,
        low=0.7,
        high=0.9,
        vs_unguided=None,
        vs_real=vs_real,
    )


def fidelity(auc=0.5, half=0.02, **more):
    values = {
        "discriminative_auc": auc,
        "discriminative_auc_low": auc - half,
        "discriminative_auc_high": auc + half,
        "discriminative_auc_reference": 0.5,
        "discriminative_collapsed": 0.0,
        "discriminative_scored": 500.0,
        "fewest_series": 500.0,
        "fewest_of_class": 50.0,
        "flat_share": 0.0,
        "flat_share_reference": 0.0,
    }
    return MetricReport(values=values | more)


def privacy(remarks=(), **more):
    values = {
        "membership_auc": 0.51,
        "membership_auc_low": 0.46,
        "membership_auc_high": 0.56,
        "membership_auc_reference": 0.5,
        "membership_members": 200.0,
        "closer_to_train_share": 0.5,
        "closer_to_train_share_low": 0.45,
        "closer_to_train_share_high": 0.55,
        "closer_to_train_share_reference": 0.5,
        "closer_to_train_effective_trials": 200.0,
        "train_closer_to_train_low": 0.46,
        "train_closer_to_train_high": 0.54,
        "copy_share": 0.0,
        "copy_share_reference": 0.0,
        "copies": 0.0,
    }
    return MetricReport(values=values | more, remarks=list(remarks))


LOST = difference(-0.16, -0.10, p_holm=0.01)  # noise as training data


def generated(name, alone, spread, *, auc=0.99, series=500.0, flat=0.0, **more):
    """Results of one set with a TSRTR row that decides nothing and a TSTR row."""
    addition = dataclasses.replace(row(difference(-0.02, 0.02)), generator=name)
    substitute = dataclasses.replace(row(alone), generator=name, protocol="TSTR", ratio=None)
    return Results(
        provenance={
            "synthetic_series_per_class": {name: [900, 100]},
            "real_series_per_class": {"train": [900, 100], "test": [360, 40]},
            "members": ["train", "val_guide"],
            "fewest_test_patients": 40,
            "held_out_copies": {},
        },
        predictions={},
        summaries=[addition, substitute],
        quality={
            "fidelity": {
                name: fidelity(
                    auc=auc,
                    fewest_series=series,
                    flat_share=flat,
                    marginal_sd_ratio_worst=6.0,
                    **{"marginal_sd_ratio/narrow": spread, "marginal_sd_ratio/wide": 6.0},
                )
            }
        },
        **more,
    )
