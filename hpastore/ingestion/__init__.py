"""Images in: ``discover`` → ``plan`` → ``decode`` → ``measure`` → ``write``.

Context: decoding takes a tenth of a second an image, and a lab ingests the same folders every
week.  Decision: what has to be done is a value, `hpastore.model.Plan`, made by a pure function from
what is found and what is stored; a pool of spawned processes decodes and measures, and this process
alone writes, one transaction per image.  Consequence: a run may end anywhere and the next one goes
on; nothing is remembered outside the database.  Tried and left: threads (OpenCV frees the
interpreter, NumPy's small steps do not), and workers that write (they queue for one lock).
"""
