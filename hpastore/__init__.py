"""hpastore: the annotation store for Human Protein Atlas images.

Every command is a function here::

    import hpastore

    with hpastore.open_store("cells.db", create=True) as store:
        hpastore.ingest(store, "/data/hpa")
        print(hpastore.thresholds(store))
        hpastore.create_clean_set(store, "mine")
        hpastore.export_coco(store, "mine.json", hpastore.ExportOptions(clean="mine"))

Names are imported when they are first used: a worker process needs no database, and ``--help`` no
image library.
"""

import lazy_loader

from hpastore._version import __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*__all__, "__version__"]
