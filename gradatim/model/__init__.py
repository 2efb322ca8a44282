"""The model: one frozen base, the adapters on it, sampling, scoring and training."""
