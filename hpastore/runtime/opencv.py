"""OpenCV, checked once when it is imported: all modules take ``cv2`` from here.

Two distributions, ``opencv-python`` and ``opencv-python-headless``, write the same folder ``cv2``.
The one that was installed last wins, whatever pip believes, and where one is removed the other is
left without files.  Hence the module itself is checked, and not its metadata.
"""

from __future__ import annotations

import re
from typing import Any, Final

from hpastore.errors import InstallationError

OLDEST: Final = (5, 0)
"""The first version whose wheels carry a libpng without known holes; as in pyproject.toml."""

_REINSTALL: Final = "run: pip install --no-deps --force-reinstall 'opencv-python>=5.0'"

_LACKS_LIBRARY: Final = (
    "run: apt-get install libgl1 libglib2.0-0, or without root: "
    "pip install --no-deps --force-reinstall 'opencv-python-headless>=5.0'"
)


def require_usable(module: Any) -> None:
    """Refuse a module ``cv2`` that is too old or has no content.

    Parameters
    ----------
    module
        What ``import cv2`` gave.

    Raises
    ------
    InstallationError
        With what to install.
    """
    version = getattr(module, "__version__", None)
    if version is None or not hasattr(module, "imdecode"):
        raise InstallationError(f"OpenCV (cv2) is installed without its content; {_REINSTALL}")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise InstallationError(
            f"the module cv2 is OpenCV {version}; hpastore needs {wanted} or newer; {_REINSTALL}"
        )


def _cure(error: Exception) -> str:
    """What to do where the module cannot be loaded."""
    return _LACKS_LIBRARY if "cannot open shared object" in str(error) else _REINSTALL


try:
    import cv2 as cv2
except Exception as _error:  # a mixture of two versions fails with any error
    raise InstallationError(f"OpenCV (cv2) cannot be loaded: {_error}; {_cure(_error)}") from _error
require_usable(cv2)
