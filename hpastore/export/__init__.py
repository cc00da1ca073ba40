"""Training annotations out, one module per family of formats.

Context: trainers read files, compare them by hash, and fail late on a wrong dtype.  Decision: every
export reads one snapshot of the store in a fixed order, is written under a temporary name beside
its target, renamed at the end, and accompanied by a manifest with the hash of every file.
Consequence: the same store and options give the same bytes; a killed export leaves the old file or
none.
"""
