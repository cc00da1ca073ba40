"""How annotations name the files of an image."""

from __future__ import annotations

from hpastore.arguments import require_choice
from hpastore.model import AnnotatedImage
from hpastore.store.decoding import image_name as check_image_name
from hpastore.vocabulary import ChannelFiles, ImageFormat


def file_name(
    image: AnnotatedImage, channels: ChannelFiles, image_format: ImageFormat
) -> str | list[str]:
    """Name the file or files of an image.

    Parameters
    ----------
    image : AnnotatedImage
    channels : str
        ``composite``: one file, as ``export images`` writes it; ``list``: the files of the channels
        that it has.
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
    >>> image = AnnotatedImage("a", 2048, 2048, ("red", "green", "blue"), ())
    >>> file_name(image, "composite", "png"), file_name(image, "list", "png")
    ('a.png', ['a_red.png', 'a_green.png', 'a_blue.png'])
    """
    require_choice(channels, ChannelFiles, "channels")
    require_choice(image_format, ImageFormat, "image_format")
    check_image_name(image.name)
    if channels == "list":
        return [f"{image.name}_{channel}.png" for channel in image.channels]
    return f"{image.name}.{image_format}"
