"""private_module: from diffusion.private and the splits to the module that keeps it."""

import logging

from torch import nn

from configs.schema import ExperimentConfig
from data_preprocess.splits import Splits
from tardiff.diffusion import Objective, SeriesBatch
from tardiff.privacy_account import planned, promise_line
from tardiff.private_training import PrivateDiffusionModule, patient_codes

log = logging.getLogger(__name__)


def private_module(
    parts: tuple[nn.Module, SeriesBatch, SeriesBatch, Objective],
    config: ExperimentConfig,
    splits: Splits,
) -> PrivateDiffusionModule:
    """The module that keeps diffusion.private for the patients it trains on.

    Raises:
        DataError: training rows of unknown patients.
        UserError: opacus is not installed, or the budget cannot be kept.
    """
    diffusion, private = config.diffusion, config.diffusion.private
    assert private.epsilon is not None
    sets = [splits.train, splits.val_guide] if diffusion.include_guide else [splits.train]
    patients = patient_codes(*(each.subject_ids for each in sets))
    plan = planned(
        epsilon=private.epsilon,
        delta=private.delta,
        max_grad_norm=private.max_grad_norm,
        batch_size=diffusion.batch_size,
        steps=diffusion.max_steps,
        patients=int(patients.max()) + 1,
    )
    log.info("%s", promise_line(plan))
    return PrivateDiffusionModule(*parts, seed=config.seed, patients=patients, plan=plan)
