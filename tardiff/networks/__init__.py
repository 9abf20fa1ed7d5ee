"""The denoising networks: the U-Net, the published one, and their blocks."""
