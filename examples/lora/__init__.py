"""Fine-tuning with low-rank adapters, the model's own parameters frozen."""
