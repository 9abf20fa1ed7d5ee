"""How influence pushes the sampler: directions, the guided denoiser, calibration."""
