"""All fidelity metrics of one synthetic set."""

from collections.abc import Callable
from functools import partial

from tqdm import tqdm

from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.comparison import make_trio
from scripts.quality.common.metric_report import MetricReport, merge
from scripts.quality.fidelity.conditional import conditional_report
from scripts.quality.fidelity.coverage import coverage_report
from scripts.quality.fidelity.discriminative import discriminative_report
from scripts.quality.fidelity.frechet import frechet_report
from scripts.quality.fidelity.marginals import marginals_report
from scripts.quality.fidelity.missingness import missingness_report
from scripts.quality.fidelity.mmd import mmd_report
from scripts.quality.fidelity.plausibility import plausibility_report
from scripts.quality.fidelity.predictive import predictive_report
from scripts.quality.fidelity.temporal import temporal_report


def fidelity_scores(
    real_train: EHRDataset,
    real_test: EHRDataset,
    synthetic: EHRDataset,
    *,
    normaliser: Normaliser,
    seed: int,
    progress: bool = True,
) -> MetricReport:
    """How far `synthetic` is from real stays that its generator never saw.

    Every distance is to `real_test`; the `_reference` beside it puts `real_train` in the place of
    `synthetic`, with equal sizes. docs/metrics.md explains each name.

    Raises:
        DataError: the sets differ in channels, classes or length, or one is too small.
        MismatchError: the normaliser was fitted on other channels.
    """
    trio = make_trio(real_train, real_test, synthetic, normaliser)
    families: dict[str, Callable[[], MetricReport]] = {
        "marginals": partial(marginals_report, trio, seed=seed),
        "temporal": partial(temporal_report, trio, seed=seed),
        "plausibility": partial(plausibility_report, trio, normaliser=normaliser),
        "missingness": partial(missingness_report, trio, seed=seed),
        "frechet": partial(frechet_report, trio, seed=seed),
        "labels": partial(conditional_report, trio, seed=seed),
        "coverage": partial(coverage_report, trio, seed=seed),
        "mmd": partial(mmd_report, trio, seed=seed),
        "predictive": partial(predictive_report, trio, seed=seed),
        "discriminative": partial(discriminative_report, trio, seed=seed),
    }
    bar = tqdm(families.items(), desc="fidelity", disable=None if progress else True)
    reports = []
    for name, family in bar:
        bar.set_postfix_str(name)
        reports.append(family())
    return merge(reports)
