"""What each of the two processes of test_distributed_training.py does; the argument is a folder."""

import dataclasses
import os
import sys
from pathlib import Path

import torch

from configs import load_config
from data_preprocess.build import load_splits
from tardiff.train import train
from tardiff.training.module import DiffusionModule
from tests.support.tiny_runs import tiny_arguments


def diffusion(root: Path) -> dict[str, torch.Tensor]:
    """The end of a distributed training, and the rows this rank drew first."""
    config = load_config(tiny_arguments(root, "strategy=ddp", "devices=2"))
    longer = dataclasses.replace(config.diffusion, max_steps=60)
    found: dict[str, torch.Tensor] = {}

    def at_end(module: DiffusionModule) -> None:
        found["rows"] = module._draw_rows(module._generator(0))
        found["weights"] = torch.cat([p.flatten() for p in module.network.parameters()])
        found["averaged"] = torch.cat([p.flatten() for p in module.ema.parameters()])
        found["steps"] = torch.tensor(module.global_step)
        found["val_loss"] = module.trainer.callback_metrics["val_loss"]

    DiffusionModule.on_train_end = at_end  # type: ignore[method-assign]
    config = dataclasses.replace(config, diffusion=longer)
    model = train(config, load_splits(config.data), root / "ddp")
    found["has_model"] = torch.tensor(model is not None)
    return {name: value.detach().clone() for name, value in found.items()}


def main(root: Path) -> None:
    """Writes rank<r>.pt."""
    found = diffusion(root)
    torch.save(found, root / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
