"""Seconds of a training step, Lightning's share included."""

import logging
import warnings
from statistics import median

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from benchmarks.speed.clock import clock_of
from benchmarks.speed.setting import Setting
from tardiff.training.callbacks import quiet

WARM_UP = 2  # steps that do not count


class _Steps(pl.Callback):
    """The clock at the end of every step."""

    def __init__(self, setting: Setting) -> None:
        self.clock = clock_of(setting.device)
        self.times: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.times.append(self.clock())


def step_seconds(setting: Setting, batch: int, steps: int) -> float:
    """Median seconds of a step on `batch` series, forward to averaging, of `steps` steps."""
    clock = _Steps(setting)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with quiet():
        warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
        trainer = pl.Trainer(
            accelerator=setting.device.type,
            devices=1,
            precision=setting.config.diffusion.precision,  # type: ignore[arg-type]
            max_steps=steps + WARM_UP,
            gradient_clip_val=setting.config.diffusion.gradient_clip or None,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = DataLoader(range(steps + WARM_UP), batch_size=None)  # type: ignore[arg-type]
        trainer.fit(setting.module(4096, batch), loader)
    times = clock.times[WARM_UP - 1 :]
    return median(after - before for before, after in zip(times, times[1:], strict=False))
