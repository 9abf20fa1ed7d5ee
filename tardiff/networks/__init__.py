"""The denoising networks: U-Net, transformer, and their blocks."""
