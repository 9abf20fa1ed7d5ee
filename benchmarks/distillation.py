"""Fewer steps by distillation: what a student of the trained model loses, and what it costs.

    python -m benchmarks.distillation CONFIG [key=value ...] [--steps 4 6 8] [--updates 2000]

The student starts from the model of stage 1 (trained where it is missing) and learns to go from one
level of a short grid to the next in one DDIM step, as the model goes there in SUBSTEPS steps of
DPM-Solver++(2M): progressive distillation (Salimans & Ho 2022) in one phase. It is scored beside
the model itself with as many steps, each with a quantile mapping of its own, by the rows and with
the sets of benchmarks/few_steps.py. Prints Markdown rows.
"""

import copy
import dataclasses
import time

import torch
from torch import Tensor, nn

from benchmarks.denoisers import Study
from benchmarks.few_steps import HEAD, parser_of, row, trained
from configs.schema.experiment import ExperimentConfig
from data_preprocess.model_space.encoding import encode
from data_preprocess.splits import Splits
from tardiff.diffusion.denoiser import Denoiser, NetworkDenoiser, to_x0
from tardiff.diffusion.noise_schedule import (
    LOG_SNR_MAX,
    Labels,
    Levels,
    Series,
    add_noise,
    alpha_sigma,
    log_snr_grid,
)
from tardiff.generation.fit_quantile_mapping import fit_marginals
from tardiff.records_from_config import model_path
from tardiff.training.checkpoint import DiffusionModel, load_model, save_model

SUBSTEPS = 3
LEARNING_RATE, EMA_DECAY, GRADIENT_CLIP = 1e-3, 0.999, 1.0


def jump(denoiser: Denoiser, x: Series, y: Labels, start: Levels, end: Levels) -> Series:
    """The clean series that one DDIM step from `start` to `end` must aim at to arrive where
    `denoiser` arrives in SUBSTEPS steps of DPM-Solver++(2M)."""
    first, h, previous = x, (end - start) / (2 * SUBSTEPS), None
    for step in range(SUBSTEPS):
        level = start + 2 * h * step
        x0_hat = denoiser(x, level, y)
        estimate = x0_hat if previous is None else x0_hat + (x0_hat - previous) / 2
        x = _toward(x, estimate, level, h)
        previous = x0_hat
    keep, gain = _step(start, SUBSTEPS * h)
    return (x - keep * first) / gain


def _toward(x: Series, estimate: Series, level: Levels, h: Levels) -> Series:
    keep, gain = _step(level, h)
    return keep * x + gain * estimate


def _step(level: Levels, h: Levels) -> tuple[Tensor, Tensor]:
    """Factors of the noisy series and of the estimate in a step of `h` in log(alpha / sigma)."""
    _, sigma = alpha_sigma(level[:, None, None])
    alpha_next, sigma_next = alpha_sigma((level + 2 * h)[:, None, None])
    return sigma_next / sigma, -alpha_next * torch.expm1(-h[:, None, None])


def distil(model: DiffusionModel, splits: Splits, grid: Tensor, *, updates: int) -> nn.Module:
    """The averaged student of `model` for the levels `grid`, noisy to clean."""
    generator = torch.Generator().manual_seed(0)
    teacher = NetworkDenoiser(model.network, prediction=model.prediction)
    student = copy.deepcopy(model.network).train().requires_grad_(True)
    averaged = copy.deepcopy(model.network)
    optimiser = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, updates)
    series, labels = encode(splits.normaliser, splits.train), torch.from_numpy(splits.train.labels)
    # The last step ends where nothing is left to see, so that its estimate is the series.
    levels = torch.cat([grid.float(), torch.tensor([LOG_SNR_MAX])])
    for _ in range(updates):
        rows = torch.randint(len(labels), (64,), generator=generator)
        x_0, y = series[rows], labels[rows]
        number = torch.randint(len(grid), (len(y),), generator=generator)
        start, end = levels[number], levels[number + 1]
        x_t = add_noise(x_0, start, torch.randn(x_0.shape, generator=generator))
        target = jump(teacher, x_t, y, start, end)
        _, sigma = alpha_sigma(start[:, None, None])
        aimed = to_x0(student(x_t, start, y), x_t, start, model.prediction)
        loss = ((aimed - target) / sigma).square().mean()  # an error of v
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), GRADIENT_CLIP)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for average, current in zip(averaged.parameters(), student.parameters(), strict=True):
                average.lerp_(current, 1 - EMA_DECAY)
    return averaged.eval()


def with_own_mapping(
    config: ExperimentConfig, model: DiffusionModel, splits: Splits, name: str
) -> ExperimentConfig:
    """`config` of an experiment that holds `model` with a quantile mapping for its sampler."""
    sampler = config.sampler
    grid = log_snr_grid(sampler.num_steps, sampler.log_snr_min, sampler.log_snr_max)
    rows = config.diffusion.marginal_rows
    fitted = fit_marginals(
        splits,
        model,
        torch.device("cpu"),
        rows=rows,
        seed=config.seed,
        sampler=sampler.name,
        levels=grid,
    )
    config = dataclasses.replace(config, experiment=f"{config.experiment}_{name}")
    model_path(config).parent.mkdir(parents=True, exist_ok=True)
    save_model(model_path(config), dataclasses.replace(model, marginals=fitted))
    return config


def main() -> None:
    """Prints two rows per number of steps: the model, and its student."""
    parser = parser_of("distillation", __doc__, [4, 6, 8])
    parser.add_argument("--updates", type=int, default=2000)
    given = parser.parse_args()
    config, splits = trained(given.config, ["network", "CPU seconds of distillation", *HEAD])
    model = load_model(model_path(config), "bash train.sh")

    def show(name: str, seconds: float, shown: DiffusionModel, config: ExperimentConfig) -> None:
        named = with_own_mapping(config, shown, splits, f"{name}{config.sampler.num_steps}")
        cells = [name, f"{seconds:.0f}", *row(Study(named, splits), given.w)]
        print(f"| {' | '.join(cells)} |", flush=True)

    show("model", 0, model, config)
    for steps in given.steps:
        short = dataclasses.replace(config.sampler, num_steps=steps)
        show("model", 0, model, dataclasses.replace(config, sampler=short))
        ddim = dataclasses.replace(short, name="ddim")
        grid = log_snr_grid(steps, ddim.log_snr_min, ddim.log_snr_max)
        started = time.process_time()
        student = distil(model, splits, grid, updates=given.updates)
        seconds = time.process_time() - started
        learned = dataclasses.replace(model, network=student)
        show("student", seconds, learned, dataclasses.replace(config, sampler=ddim))


if __name__ == "__main__":
    main()
