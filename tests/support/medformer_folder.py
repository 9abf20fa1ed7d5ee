"""A small folder in the layout of Medformer's data sets."""

from pathlib import Path

import numpy as np


def medformer(root: Path, files, rows) -> Path:
    (root / "Feature").mkdir(parents=True), (root / "Label").mkdir()
    for number in files:
        np.save(root / "Feature" / f"feature_{number:02d}.npy", np.full((2, 4, 1), float(number)))
    np.save(root / "Label" / "label.npy", np.array(rows))
    return root
