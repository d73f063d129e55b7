"""What every operation does to the batch: a table of rules, which is the whole proof (`docs/microbatches.md`)."""
