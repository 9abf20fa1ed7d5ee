"""Everything `python -m benchmarks.speed` measures of one setting, as rows of one table."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.speed.clock import Ceilings, fastest, flops, peak_memory
from benchmarks.speed.setting import Setting
from benchmarks.speed.training import step_seconds
from classifier.losses import per_sample_loss
from tardiff.influence.parameter_space import differentiable_rnn


@dataclass(frozen=True)
class Row:
    """One figure; `share` is the part of the ceiling of products that was reached."""

    setting: str
    what: str
    value: float
    unit: str
    share: float | None = None


@dataclass(frozen=True)
class Sizes:
    """How much is measured: series, series a training step, runs of which the fastest counts."""

    rows: int
    batch: int
    rounds: int


def measure(name: str, setting: Setting, sizes: Sizes, limits: Ceilings) -> list[Row]:
    """The rows of one setting, in the order in which data flow."""
    rows = _training(name, setting, sizes, limits)
    rows += _sampling(name, setting, sizes, limits)
    rows += _influence(name, setting, sizes)
    return [*rows, Row(name, "peak memory so far", peak_memory(setting.device), "MiB")]


def _training(name: str, setting: Setting, sizes: Sizes, limits: Ceilings) -> list[Row]:
    half = setting.config.diffusion.precision == "bf16-mixed"
    limit = limits.flops["bfloat16" if half else "float32"]
    batch = sizes.batch
    module = setting.module(4096, batch)

    # Counted on the CPU, where the module still is, and on few series: operations add up.
    few = min(16, batch)
    work = flops(lambda: _loss(module, few).backward()) * batch / few
    seconds = step_seconds(setting, batch, 4 * sizes.rounds)
    drawing = fastest(lambda: _draw(module), 4 * sizes.rounds, torch.device("cpu"))
    label = f"batch {batch}"
    return [
        Row(name, "weights of the U-Net", setting.parameters, ""),
        Row(name, f"training, {label}", 1 / seconds, "steps/s", work / seconds / limit),
        Row(name, f"training, {label}", batch / seconds, "series/s", work / seconds / limit),
        Row(name, f"drawing rows, levels and noise of a step, {label}", 1000 * drawing, "ms"),
    ]


def _draw(module) -> Tensor:
    generator = module._generator(0)
    rows = module._draw_rows(generator)
    module._drop_labels(module.train_data.y[rows], generator)
    x = module.train_data.x[rows]
    return torch.randn(x.shape, generator=generator)


def _loss(module, batch: int) -> Tensor:
    data = module.train_data
    parts = (part[:batch] for part in (data.x, data.observed, data.y))
    return module._losses(module.network, *parts, module._generator(0)).mean()


def _sampling(name: str, setting: Setting, sizes: Sizes, limits: Ceilings) -> list[Row]:
    process, y = setting.process(sizes.rows), torch.arange(sizes.rows) % 2
    plain, guidance, device = setting.plain(), setting.guidance(), setting.device
    x, labels = (part.to(device) for part in setting.series(process.batch_size))
    level = torch.zeros(len(x), device=device)
    limit = limits.flops["float32"]
    found, numbers = [], range(sizes.rows)
    call = fastest(lambda: plain(x, level, labels), sizes.rounds, device)
    work = flops(lambda: plain(x, level, labels)) / len(x)
    rate = 1 / call
    found.append(
        Row(name, f"denoiser calls, {len(x)} series", rate, "calls/s", work * len(x) * rate / limit)
    )
    for kind, chosen in (("unguided", None), ("guided", guidance)):
        run: Callable[[], object] = lambda g=chosen: process.run(plain, y, numbers, g)  # noqa: E731
        rate = sizes.rows / fastest(run, sizes.rounds, device)
        share = work * len(process.levels) * rate / limit if chosen is None else None
        found.append(Row(name, f"{kind} generation", rate, "series/s", share))
    idle = fastest(lambda: process.run(lambda x, *_: x, y, numbers), sizes.rounds, device)
    per_step = 1e6 * idle / sizes.rows / len(process.levels)
    return [*found, Row(name, "solver arithmetic, noise included", per_step, "us/series/step")]


def _influence(name: str, setting: Setting, sizes: Sizes) -> list[Row]:
    # No share of a ceiling: the counter follows neither autograd.grad nor fused recurrent layers.
    direction, device = setting.direction(), setting.device
    x, y = (part.to(device) for part in setting.series(min(256, sizes.rows)))
    guide = differentiable_rnn(setting.guide)
    parts = {
        "guide, forward": lambda: _forward(guide, x),
        "guide, forward and backward": lambda: _backward(guide, x, y),
        "J": lambda: direction(x, y),
    }
    found = []
    for what, run in parts.items():
        seconds = fastest(run, sizes.rounds, device)
        found.append(Row(name, what, 1e6 * seconds / len(x), "us/series"))
    return found


@torch.no_grad()
def _forward(guide: torch.nn.Module, x: Tensor) -> Tensor:
    return guide(x)


def _backward(guide: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(per_sample_loss(guide(leaf), y).sum(), leaf)[0]
