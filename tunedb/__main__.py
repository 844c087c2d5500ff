"""`python -m tunedb`."""

from tunedb.cli import main

if __name__ == "__main__":
    main()
