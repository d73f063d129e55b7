"""What a plan has done for each microbatch alone: rewrites the function as jax traced it, before it is lowered."""
