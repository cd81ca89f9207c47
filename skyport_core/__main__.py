"""``python -m skyport_core`` is ``skyport-core``."""

from .app import main

main()
