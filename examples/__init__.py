"""Models to try atoll on, each an ordinary JAX program with a job: `atoll dump examples/decoder.py:job`."""
