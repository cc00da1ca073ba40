"""How annotations name the files of an image."""

from __future__ import annotations

from hpastore.arguments import require_choice
from hpastore.store.decoding import image_name as check_image_name
from hpastore.vocabulary import CHANNELS, ChannelFiles, ImageFormat


def file_name(name: str, channels: ChannelFiles, image_format: ImageFormat) -> str | list[str]:
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
        If `channels` or `image_format` has another value.
    DamagedError
        If the stored name cannot be an image's name: trainers open the file that is named here.

    Examples
    --------
    >>> file_name("a", "composite", "png"), file_name("a", "list", "png")[1]
    ('a.png', 'a_green.png')
    """
    require_choice(channels, ChannelFiles, "channels")
    require_choice(image_format, ImageFormat, "image_format")
    check_image_name(name)
    if channels == "list":
        return [f"{name}_{channel}.png" for channel in CHANNELS]
    return f"{name}.{image_format}"
