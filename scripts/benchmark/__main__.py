"""``python -m scripts.benchmark``; workers are spawned and load this module, so that it imports
nothing.
"""

if __name__ == "__main__":
    import sys

    from scripts.benchmark.command import main

    sys.exit(main())
