"""One image in, its cells or its failure out; what a worker process does, which never sees the database."""

from __future__ import annotations

from pathlib import Path

from hpastore.errors import RejectedError
from hpastore.kernels.measure import measure
from hpastore.model import CHANNELS, Failure, Measured, Source
from hpastore.reading.image import decode


def measure_source(source: Source, root: Path, background_percentile: float) -> Measured | Failure:
    """Decode and measure one image.

    Parameters
    ----------
    source : Source
    root : Path
        What its uris are relative to.
    background_percentile : float
        Share 0..1.

    Returns
    -------
    Measured or Failure
        A file that cannot be taken is a value; an error of the program is raised.
    """
    try:
        decoded = decode(source, root)
        cells = measure(decoded, background_percentile)
    except RejectedError as error:
        return Failure(source.name, _uri(error.path, root), error.code, str(error))
    except MemoryError:
        return Failure(
            source.name, source.files[0].uri, "memory", f"{source.name}: needs more memory than there is"
        )
    height, width = decoded.channels[CHANNELS[0]].shape
    return Measured(source, decoded.files, width, height, decoded.bit_depth, cells)


def _uri(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
