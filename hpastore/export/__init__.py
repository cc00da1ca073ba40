"""Training annotations out, one module per family of formats.

Context: training programs read files, compare them by hash, and notice a wrong dtype late.
Decision: every export reads one snapshot of the store in a fixed order, is written under a
temporary name beside its target, is renamed at the end, and has a manifest with the hash of every
file.  All of this is in `hpastore.export.pipeline`; a module per format writes rows.  Consequence:
the same store and options give the same bytes; a killed export leaves the old file or none.
"""
