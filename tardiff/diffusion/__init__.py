"""The diffusion process: noise schedule, denoiser, samplers, quantile mapping."""
