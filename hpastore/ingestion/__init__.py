"""Images in: ``discover`` → ``plan`` → ``decode`` → ``measure`` → ``write``.

Context: decoding takes a tenth of a second an image, and a lab ingests the same folders every week.
Decision: what has to be done is a value, `hpastore.model.Plan`; a pure function makes it by
comparing the inputs with the store.  A pool of spawned processes decodes and measures, and this
process alone writes, one transaction per image.  Consequence: a run may end at any time and the
next one goes on; nothing is kept outside the database.  Tried and left: threads (OpenCV releases
the interpreter's lock, NumPy's small steps do not), and workers that write (they wait for each
other at one lock).

In the order of a run: ``options`` and ``policy`` check what the user gave, ``discover`` lists the
inputs (``layout``, ``folders``), ``store_state`` reads the store and recognises its ``roots``,
``plan`` compares the two and ``safeguard`` stops accidents, ``tasks`` go to the ``worker``, and the
``writer`` stores their results.  ``run`` is the public face of it all.
"""
