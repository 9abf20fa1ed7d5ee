"""All privacy metrics of one synthetic set."""

from collections.abc import Callable
from functools import partial

from tqdm import tqdm

from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.comparison import make_trio
from scripts.quality.common.metric_report import MetricReport, merge
from scripts.quality.privacy.adversarial_accuracy import adversarial_report
from scripts.quality.privacy.attribute_inference import attribute_report
from scripts.quality.privacy.distances import copies_report, distances_report
from scripts.quality.privacy.membership import membership_report


def privacy_scores(
    train: EHRDataset,
    holdout: EHRDataset,
    synthetic: EHRDataset,
    *,
    normaliser: Normaliser,
    seed: int,
    progress: bool = True,
) -> MetricReport:
    """What `synthetic` gives away about `train`, measured against `holdout`.

    Args:
        train: all real stays that reached the generator, those used only for guidance included.
        holdout: real stays of other patients from the same population.

    Raises:
        DataError: the sets differ in channels, classes or length, or one is too small.
        MismatchError: the normaliser was fitted on other channels.
    """
    trio = make_trio(train, holdout, synthetic, normaliser)
    families: dict[str, Callable[[], MetricReport]] = {
        "copies": partial(copies_report, trio),
        "distances": partial(distances_report, trio, seed=seed),
        "adversarial accuracy": partial(adversarial_report, trio, seed=seed),
        "membership": partial(membership_report, trio, seed=seed),
        "attribute inference": partial(attribute_report, trio, seed=seed),
    }
    bar = tqdm(families.items(), desc="privacy", disable=None if progress else True)
    reports = []
    for name, family in bar:
        bar.set_postfix_str(name)
        reports.append(family())
    return merge(reports)
