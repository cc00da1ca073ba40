"""hpastore: the annotation store for Human Protein Atlas images."""

__version__ = "0.1.0"
