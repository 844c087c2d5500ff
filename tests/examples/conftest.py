"""What the tests of the example package share with those of the command line."""

from tests.cli.conftest import cli as cli
