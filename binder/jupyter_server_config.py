"""Shows the demonstration hub inside the one notebook server that Binder gives a visitor.

jupyter-server-proxy starts the hub on the first visit and carries its pages below
``<notebook server>/skyport/``. The hub listens on 127.0.0.1 only, so that nobody but the visitor
reaches it.
"""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821 (Jupyter defines it)

checkout = Path(os.environ.get("SKYPORT_CHECKOUT") or Path.cwd())

c.ServerProxy.servers = {
    "skyport": {
        "command": [
            sys.executable,
            "-m",
            "jupyterhub",
            "-f",
            str(checkout / "jupyterhub_config.py"),
        ],
        "environment": {"PORT": "{port}", "SKYPORT_HUB_PREFIX": "{base_url}skyport/"},
        # The hub makes absolute links, so it has to see the whole path.
        "absolute_url": True,
        "timeout": 60,
        "new_browser_tab": False,
        "launcher_entry": {"title": "Sky Port"},
    }
}
c.ServerApp.default_url = "/skyport/"
