"""`python -m fpm` runs the command line."""

from runpy import run_module

run_module("fpm.commands.cli", run_name="__main__")
