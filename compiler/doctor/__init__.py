"""What is installed and set on this machine, and what of it would fail. It imports no jax: that may be what fails."""
