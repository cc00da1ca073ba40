"""Whether a store holds what was written: checksums of its rows, the doctor, and the canonical
dump.
"""
