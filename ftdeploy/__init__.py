"""From a transformers checkpoint to a measured, gated, monitored HTTP service: one recipe in, one bundle out."""

__version__ = "0.1.0"
