"""``python -m shroomcurate`` is ``shroomcurate``."""

from shroomcurate.cli import main

if __name__ == "__main__":
    main()
