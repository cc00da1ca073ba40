"""Whether a store holds what was written: checksums, the doctor and the canonical dump."""
