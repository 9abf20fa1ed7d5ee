"""ClassifierModule: the thin Lightning layer around a plain classifier."""

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from classifier.losses import per_sample_loss
from classifier.metrics import selection_scores
from configs.runtime.errors import UserError


class ClassifierModule(LightningModule):
    """Trains `model` with AdamW on the class-weighted loss and scores it after every epoch.

    Args:
        model: series -> logits.
        class_weights: factor of the loss per class, mean 1 over the training set.
        learning_rate, weight_decay: of AdamW.

    Attributes:
        history: one dict per epoch: epoch, train_loss (weighted) and the selection scores.
    """

    def __init__(
        self, model: nn.Module, *, class_weights: Tensor, learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__()
        self.model = model
        self.class_weights: Tensor
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.history: list[dict[str, int | float]] = []
        self._train_losses: list[Tensor] = []
        self._select: list[tuple[Tensor, Tensor]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over all weights."""
        return torch.optim.AdamW(
            self.model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Mean weighted loss of the batch."""
        x, y = batch
        weights = self.class_weights[y]
        loss = (weights * per_sample_loss(self.model(x), y)).mean()
        self._train_losses.append(loss.detach())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Collects the logits; AUROC is a statement about all of them together."""
        x, y = batch
        self._select.append((self.model(x), y))

    def on_validation_epoch_end(self) -> None:
        """Scores the epoch.

        Raises:
            UserError: the logits are no longer finite.
        """
        logits, y = (torch.cat(parts) for parts in zip(*self._select, strict=True))
        if not torch.isfinite(logits).all():
            raise UserError(
                f"classifier training diverged in epoch {self.current_epoch}: logits are not "
                f"finite; lower classifier.learning_rate (now {self.learning_rate:g})"
            )
        row: dict[str, Any] = {"epoch": self.current_epoch}
        row["train_loss"] = float(torch.stack(self._train_losses).mean())
        scores = selection_scores(logits, y)
        self.log_dict(scores)  # where EarlyStopping finds them
        self.history.append(row | scores)
        self._select.clear()
        self._train_losses.clear()
