"""The arguments of a tiny experiment that lives in a folder of its own."""

from pathlib import Path


def tiny_arguments(root: Path, *more: str) -> list[str]:
    return [
        "configs/base/tiny.yaml",
        f"runs_dir={root}/runs",
        f"data.dir={root}/data",
        f"classifier.checkpoint_dir={root}/classifier",
        "accelerator=cpu",
        *more,
    ]
