"""WholeFiles: how Lightning's checkpoints reach the disk, and how they are read back."""

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from classifier.plain_file import load_plain, save_plain


class WholeFiles(TorchCheckpointIO):
    """Checkpoints through save_plain and load_plain.

    Lightning's own writer goes through the system's temporary folder, which may be on another
    disk: its last step is then a copy, and a kill in the middle of it leaves half a checkpoint
    under the final name.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes the checkpoint whole or not at all."""
        save_plain(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Tensors and built-in types only, on the CPU; Lightning moves them."""
        return load_plain(Path(path), "training checkpoint (remove it to begin anew)")
