"""The only place with a connection: engine, migrations, reading and writing.

Context: SQLite answers "database is locked" at once when a reading transaction turns into a
writing one, switches foreign keys off by default, and commits DDL half-way through a migration
unless told otherwise.  Decision: every transaction says at its beginning whether it will write
(``BEGIN IMMEDIATE``), pragmas are set on each connection, and DDL runs inside the transaction that
records it.  Consequence: a killed process leaves the state before or after, never between.
"""
