"""A denoiser in Equinox, on two replicas of two stages."""
