"""Workplace: where stage 3 keeps what it has finished, until its sets are written.

runs/<experiment>/synthetic/.parts/<hash>/ holds the batches of one set, or the outcome of one
calibration; the hash covers all that decides them.
"""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from configs import to_plain
from configs.run_record import run_dir
from configs.runtime.errors import UserError
from configs.runtime.shards import share
from data_preprocess.model_space.encoding import decode
from tardiff.generation.artefacts import Parts
from tardiff.generation.batches import Job, kept_stats, parts_folder, remembered, sample_parts
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.guidance.algorithm1 import PaperShift
from tardiff.guidance.calibration import Calibration
from tardiff.guidance.from_config import guidance_files
from tardiff.guidance.guided_denoiser import GuidedDenoiser
from tardiff.privacy.memorisation import CopyCheck, fresh_numbers, replace_copies

log = logging.getLogger(__name__)


class Sampled(NamedTuple):
    """A set in model space, and what the check for copies found; None where it was told off."""

    x: Tensor
    copies: CopyCheck | None


class ShareDone(Exception):
    """This process has made its share of the batches; another one puts the sets together."""


class Workplace:
    """Context of one run of stage 3; its folders are removed when the run ends well.

    Raises:
        UserError: generation.workers asks for processes on a device that is not the CPU.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._root = run_dir(parts.config) / "synthetic" / ".parts"
        self._used: list[Path] = []
        self._share = share("generation.shard", parts.config.generation.shard)
        if parts.config.generation.workers > 1 and parts.device.type != "cpu":
            raise UserError(
                f"generation.workers={parts.config.generation.workers} on {parts.device}: worker "
                "processes are for the CPU; use generation.shard to spread a run over GPUs"
            )

    def __enter__(self) -> "Workplace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if kind is ShareDone:
            log.info(
                "share %d/%d is made; when all are, run the same command without generation.shard",
                *self._share,
            )
            return True
        if kind is None:
            for folder in self._used:
                shutil.rmtree(folder, ignore_errors=True)
            if self._root.is_dir() and not any(self._root.iterdir()):
                self._root.rmdir()
        return False

    def sample(
        self,
        process: ReverseProcess,
        title: str,
        *,
        denoiser: GuidedDenoiser | None = None,
        mean_shift: PaperShift | None = None,
        last: bool = False,
    ) -> Sampled:
        """The series of the run's labels, none of them a copy; see `sample_parts`.

        Args:
            denoiser: the guided one; None: the unguided one.
            last: no other set follows.

        Raises:
            ShareDone: `last`, and this process makes a share only.
        """
        guidance = self._guidance(denoiser, mean_shift)
        folder = self._folder({"set": self._set(process), "guidance": guidance})
        job = Job(
            process=process,
            denoiser=denoiser or self._parts.denoiser,
            y=self._parts.y,
            mean_shift=mean_shift,
            workers=self._parts.config.generation.workers,
            share=self._share,
        )
        x = sample_parts(job, folder, title=title)
        if x is not None:
            return self._without_copies(job, x)
        if last:
            raise ShareDone
        return Sampled(torch.zeros(0, *process.shape), None)

    def _without_copies(self, job: Job, x: Tensor) -> Sampled:
        parts = self._parts
        if parts.config.generation.allow_copies:
            return Sampled(x, None)
        normaliser, gaps = parts.splits.normaliser, parts.config.generation.gaps

        def resample(rows: Int[np.ndarray, " m"], attempt: int) -> Tensor:
            numbers = fresh_numbers(rows, attempt)
            y = job.y[torch.from_numpy(rows)]
            return job.process.run(job.denoiser, y, numbers, mean_shift=job.mean_shift)

        def released(series: Tensor) -> Tensor:
            return normaliser.to_model(decode(normaliser, series, gaps=gaps)[0])

        with kept_stats(job):
            train = normaliser.to_model(parts.splits.train.values)
            return Sampled(*replace_copies(x, train, resample, through=released))

    def remembered(
        self,
        process: ReverseProcess,
        wanted: list[float],
        compute: Callable[[], list[Calibration]],
    ) -> list[Calibration]:
        """The calibration that `compute` finds for the `wanted` shifts, once per run."""
        deciding = {
            "process": self._process(process),
            "guidance": self._settings(),
            "wanted": wanted,
        }
        return remembered(self._folder(deciding) / "calibration.json", Calibration, compute)

    def _folder(self, deciding: dict[str, Any]) -> Path:
        threads = 1 if self._parts.config.generation.workers > 1 else torch.get_num_threads()
        device = self._parts.device.type
        folder = parts_folder(self._root, deciding | {"threads": threads, "device": device})
        self._used.append(folder)
        return folder

    def _set(self, process: ReverseProcess) -> dict[str, Any]:
        return {"process": self._process(process), "y": self._parts.y}

    def _process(self, process: ReverseProcess) -> dict[str, Any]:
        drawn = {key: value for key, value in vars(process).items() if key != "device"}
        model = self._parts.model
        return drawn | {
            "network": model.network,
            "prediction": model.prediction,
            "cfg_scale": self._parts.config.sampler.cfg_scale,
        }

    def _settings(self) -> dict[str, Any]:
        """All that decides the direction and the pilots, besides the diffusion model."""
        plain = to_plain(self._parts.config)
        return {
            "data": self._parts.splits.fingerprint,
            "files": guidance_files(self._parts.config),
            "seed": plain["seed"],
            "influence": plain["influence"],
            "guidance": plain["guidance"],
        }

    def _guidance(
        self, denoiser: GuidedDenoiser | None, mean_shift: PaperShift | None
    ) -> dict[str, Any] | None:
        if denoiser is not None:
            return self._settings() | {"strength": denoiser.strength, "active": denoiser.active}
        if mean_shift is not None:
            return self._settings() | {"paper": mean_shift.w}
        return None
