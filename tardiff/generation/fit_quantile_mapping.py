"""The pilot behind a model's MarginalMap: drawn unguided with the default sampler."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import encode
from data_preprocess.splits import Splits
from tardiff.diffusion.denoiser import NetworkDenoiser
from tardiff.diffusion.noise_schedule import log_snr_grid
from tardiff.diffusion.quantile_mapping import MarginalMap
from tardiff.diffusion.samplers import Steps
from tardiff.generation.reverse_process import MARGINALS, ReverseProcess
from tardiff.training.checkpoint import DiffusionModel

# Series per denoiser call: one number everywhere, since the map is a part of the model.
BATCH_SIZE = 256
# The defaults of the sampler section: (steps, lowest, highest log-SNR).
SAMPLER, GRID = "dpmpp_2m", (15, -10.0, 9.0)


def fit_marginals(
    splits: Splits,
    model: DiffusionModel,
    device: torch.device,
    *,
    rows: int,
    seed: int,
    sampler: str = SAMPLER,
    levels: Steps | None = None,
) -> MarginalMap:
    """The map from what `model` draws to the marginal distributions of the training split.

    Sampled by the default sampler, without classifier-free guidance, whatever stage 3 is asked to
    do: the map belongs to the model, and a setting of stage 3 must not change it.

    Args:
        rows: series to draw.
        seed: of their noise.
        sampler, levels: of a model that has its own; None: the default grid.
    """
    process = ReverseProcess(
        sampler=sampler,
        levels=log_snr_grid(*GRID) if levels is None else levels,
        shape=(splits.normaliser.num_model_channels, model.length),
        seed=seed,
        batch_size=BATCH_SIZE,
        device=device,
    )
    denoiser = NetworkDenoiser(model.network, prediction=model.prediction)
    y = torch.from_numpy(_labels(splits.train, rows))
    drawn = process.run(denoiser, y, range(MARGINALS, MARGINALS + rows)).x
    fitted = MarginalMap(
        len(model.feature_names), model.length, masks=splits.normaliser.layout.masks
    )
    measured = torch.from_numpy(splits.train.observed)
    fitted.fit(drawn, _dithered(splits, seed), measured)
    return fitted


def _dithered(splits: Splits, seed: int) -> Float[Tensor, "n channel time"]:
    """`encode` of the training split, each charted value spread over what it stands for."""
    x, train = encode(splits.normaliser, splits.train), splits.train
    x[:, : train.num_channels] = splits.normaliser.dithered(
        train.values, np.random.default_rng([seed, MARGINALS])
    )
    return x


def _labels(train: EHRDataset, rows: int) -> np.ndarray:
    """`rows` labels in the shares of the training split."""
    ends = np.cumsum(train.class_counts) / len(train)
    return np.searchsorted(ends, (np.arange(rows) + 0.5) / rows).astype(np.int64)
