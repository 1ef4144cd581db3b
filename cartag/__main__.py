"""``python -m cartag``."""

from cartag.cli import main

if __name__ == "__main__":
    main()
