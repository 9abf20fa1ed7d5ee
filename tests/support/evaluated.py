"""The tiny experiment as stage 4 is given it: its arguments, and sets made of training series."""

import dataclasses

import numpy as np


def as_synthetic(dataset, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    scale = noise * dataset.values.std(axis=(0, 2), keepdims=True)
    values = dataset.values + scale * rng.normal(size=dataset.values.shape)
    n = len(dataset)
    return dataclasses.replace(
        dataset,
        values=values.astype(np.float32),
        observed=np.ones_like(dataset.observed),
        subject_ids=np.full(n, -1),
        static=np.zeros((n, 0), np.float32),
        static_names=(),
    )


def arguments(folder, *more):
    return [
        "configs/base/tiny.yaml",
        f"data.dir={folder}/data",
        f"runs_dir={folder}/runs",
        "evaluation.workers=1",
        "classifier.max_epochs=1",
        *more,
    ]
