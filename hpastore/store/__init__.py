"""The only place with a connection: engine, migrations, reading and writing.

Context: by default SQLite fails with "database is locked" when a reading transaction begins to
write, ignores foreign keys, and commits DDL in the middle of a migration.  Decision: every
transaction declares at its beginning whether it writes (``BEGIN IMMEDIATE``), pragmas are set on
each connection, and DDL runs inside the transaction that records it.  Consequence: a killed process
leaves the state before or after, never between.
"""
