"""Stages 1 and 3: the diffusion model, influence, guidance and sampling."""
