"""``python -m skyport_core.console``."""

from . import main

main(prog_name="skyport")
