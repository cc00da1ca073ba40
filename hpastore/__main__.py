"""``python -m hpastore``."""

from hpastore.cli.app import main

if __name__ == "__main__":
    main()
