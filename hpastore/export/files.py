"""How annotations name an image's pixels."""

from __future__ import annotations

from typing import Final

from hpastore.errors import UsageError
from hpastore.store.decoding import image_name
from hpastore.vocabulary import CHANNELS

IMAGE_FORMATS: Final = ("png", "jpg")
CHANNEL_WAYS: Final = ("composite", "list")


def file_name(name: str, channels: str, image_format: str) -> str | list[str]:
    """Name the file or files of an image.

    Parameters
    ----------
    name : str
        The image's name.
    channels : str
        ``composite``: one file, as ``export images`` writes it; ``list``: the four channel files.
    image_format : str
        ``png`` or ``jpg``, of the composite.

    Raises
    ------
    UsageError
        If there is no such way or format.
    DamagedError
        If no image is called so: a trainer opens what is named here, and ``export images`` writes it.

    Examples
    --------
    >>> file_name("a", "composite", "png"), file_name("a", "list", "png")[1]
    ('a.png', 'a_green.png')
    """
    check_way(channels, image_format)
    image_name(name)
    if channels == "list":
        return [f"{name}_{channel}.png" for channel in CHANNELS]
    return f"{name}.{image_format}"


def check_way(channels: str, image_format: str) -> None:
    """Refuse a way or format that does not exist.

    Raises
    ------
    UsageError
    """
    if channels not in CHANNEL_WAYS:
        raise UsageError(f"no way {channels!r} with channels; there are {' and '.join(CHANNEL_WAYS)}")
    if image_format not in IMAGE_FORMATS:
        raise UsageError(f"no image format {image_format!r}; there are {' and '.join(IMAGE_FORMATS)}")
