"""The version of hpastore."""

__version__ = "0.1.0"
