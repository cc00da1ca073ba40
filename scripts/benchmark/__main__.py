"""``python -m scripts.benchmark``; spawned workers load this module, so it imports nothing."""

if __name__ == "__main__":
    import sys

    from scripts.benchmark.command import main

    sys.exit(main())
