"""The command line: each command parses, calls one public function, and prints its result.

Data goes to stdout, progress and messages to stderr; with ``--json`` stdout is one JSON document.
Exit codes are a contract, see `hpastore.cli.app`.
"""
