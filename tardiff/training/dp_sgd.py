"""DP-SGD training of the denoiser with opacus."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from configs.runtime.errors import UserError
from tardiff.diffusion.noise_schedule import Levels, draw_levels
from tardiff.privacy.accountant import Privacy, after, opacus_part
from tardiff.privacy.noise import require_patients, secret_generator
from tardiff.training.module import DiffusionModule, Objective, SeriesBatch

CHUNK = 64  # stays whose gradients are held at once: 64 x parameters x 4 bytes


class PrivateDiffusionModule(DiffusionModule):
    """DiffusionModule whose steps keep `plan`.

    Args:
        patients: code of the patient of every training row, 0..n-1.
        plan: noise, bound and sampling rate.

    Raises:
        UserError: opacus is not installed.
    """

    def __init__(
        self,
        network: nn.Module,
        train_data: SeriesBatch,
        val_data: SeriesBatch,
        objective: Objective,
        *,
        seed: int,
        patients: Int[np.ndarray, " n"],
        plan: Privacy,
    ) -> None:
        super().__init__(network, train_data, val_data, objective, seed=seed)
        self.plan = plan
        order = np.argsort(patients, kind="stable")
        self._stays = torch.from_numpy(order)
        counts = np.bincount(patients)
        self._counts = torch.from_numpy(counts)
        self._first = torch.from_numpy(np.cumsum(counts) - counts)
        # strict refuses every buffer, since BatchNorm has some; ours hold constants. In a tuple,
        # so that it does not become a second copy of the weights in the checkpoint.
        wrap = opacus_part("grad_sample").GradSampleModule
        self._hooks = (wrap(network, loss_reduction="sum", strict=False),)

    def setup(self, stage: str) -> None:
        """As for any training; several processes would each draw and noise a batch.

        Raises:
            UserError: there are several processes.
        """
        if self.trainer.world_size > 1:
            raise UserError(
                f"diffusion.private with {self.trainer.world_size} processes: the accounting is "
                "for one; use devices=1 and num_nodes=1"
            )
        super().setup(stage)

    def on_fit_start(self) -> None:
        """Nothing is recorded: batches vary in size, and opacus' hooks must see every pass."""

    def configure_optimizers(self) -> Any:
        """The optimiser behind opacus' clipping and noise, with the usual schedule."""
        configured = super().configure_optimizers()
        private = opacus_part("optimizers").DPOptimizer(
            configured["optimizer"],
            noise_multiplier=self.plan.noise_multiplier,
            max_grad_norm=self.plan.max_grad_norm,
            expected_batch_size=self.objective.batch_size,
            generator=secret_generator(self.device),
        )
        factor = configured["lr_scheduler"]["scheduler"].lr_lambdas[0]
        schedule = torch.optim.lr_scheduler.LambdaLR(private, factor)
        return {
            "optimizer": private,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Nothing: Lightning calls it between the loss and its gradient, where the clipped sum
        of the chunks before would be lost; `training_step` does it."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The summed loss of the last chunk; the clipped gradients of the others are kept.

        Every chunk has a generator of its own: a GPU draws noise from the seed of one, and that
        would be the same in all chunks.
        """
        optimizer: Any = self.trainer.optimizers[0]
        optimizer.zero_grad()
        cpu = torch.device("cpu")
        chunks = self._draw_stays(secret_generator(cpu)).split(CHUNK)
        for rows in chunks[:-1]:
            self._summed_loss(rows, secret_generator(cpu)).backward()
            optimizer.clip_and_accumulate()
            for parameter in self._parameters_of_opacus():
                parameter.grad_sample = None
        return self._summed_loss(chunks[-1], secret_generator(cpu))

    def spent(self) -> Privacy:
        """The promise that the steps made so far keep."""
        return after(self.plan, self.trainer.global_step)

    def _parameters_of_opacus(self) -> list[Any]:
        return list(self.network.parameters())  # opacus adds the field grad_sample to each

    def _draw_stays(self, generator: torch.Generator) -> Int[Tensor, " drawn"]:
        """One stay of each patient drawn (Poisson sampling); there may be none."""
        n = len(self._counts)
        drawn = torch.rand(n, generator=generator, dtype=torch.float64) < self.plan.sample_rate
        which = torch.rand(n, generator=generator, dtype=torch.float64) * self._counts
        return self._stays[(self._first + which.long())[drawn]]

    def _draw_levels(self, count: int, generator: torch.Generator) -> Levels:
        """Independent, not stratified over the batch: one stay more must not move the others'."""
        table = self.objective.level_table
        single = [draw_levels(1, table=table, generator=generator) for _ in range(count)]
        return torch.cat(single)

    def _summed_loss(self, rows: Tensor, generator: torch.Generator) -> Float[Tensor, ""]:
        if not len(rows):
            for parameter in self._parameters_of_opacus():
                parameter.grad_sample = parameter.new_zeros(0, *parameter.shape)
            return torch.stack([p.sum() for p in self.network.parameters()]).sum() * 0.0
        rows = rows.to(self.device)
        data = self.train_data
        y = self._drop_labels(data.y[rows], generator)
        losses = self._losses(self.network, data.x[rows], data.observed[rows], y, generator)
        if not torch.isfinite(losses).all():
            raise FloatingPointError(
                f"training step {self.global_step}: a loss is not finite; lower "
                "diffusion.learning_rate"
            )
        return losses.sum()


def patient_codes(subject_ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """0..n-1 per patient.

    Raises:
        DataError: a row does not say which patient it is of.
    """
    require_patients(subject_ids, "diffusion.private")
    return np.unique(subject_ids, return_inverse=True)[1]
