"""The models of layer loops in the order in which tests go through them, by what they vary."""

# isort: off
import layered_transformers
import layered_forms
import layered_streams
import layered_numbers
import layered_caches
# isort: on

MODULES = (layered_transformers, layered_forms, layered_streams, layered_numbers, layered_caches)
