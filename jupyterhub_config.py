"""Sky Port on one machine: JupyterHub, a managed core, and this machine as the only site.

Runs as it is, without root and without any setup:

    jupyterhub -f jupyterhub_config.py

Then open http://127.0.0.1:8000 and log in with any name. $PORT moves the hub to another port;
everything that is kept lies below $SKYPORT_HOME (~/.local/state/skyport). Ctrl-C ends the hub, the
core and all servers.

Copy this file to begin an installation of your own, and replace the authenticator first.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

c = get_config()  # noqa: F821 (JupyterHub defines it)

port = int(os.environ.get("PORT", "8000"))
home = Path(os.environ.get("SKYPORT_HOME") or Path.home() / ".local/state/skyport").absolute()
state = home / "hub"
state.mkdir(mode=0o700, parents=True, exist_ok=True)
home.chmod(0o700)
state.chmod(0o700)

# -- who may log in --------------------------------------------------------------------------------

# DEMO ONLY: anybody gets in with any name and no password, and runs programs as the account that
# runs the hub. That is why nothing here listens on anything but 127.0.0.1. Choose a real
# authenticator (https://jupyterhub.readthedocs.io/page/reference/authenticators.html) before you
# change bind_url.
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True

# Names of those who administer the hub and the core.
admins: set[str] = set()
c.Authenticator.admin_users = admins
c.JupyterHub.bind_url = f"http://127.0.0.1:{port}{os.environ.get('SKYPORT_HUB_PREFIX', '/')}"

# -- servers: jobs of the core ---------------------------------------------------------------------

c.JupyterHub.spawner_class = "skyport"
c.SkyPortSpawner.core_socket = str(home / "core.sock")
c.SkyPortSpawner.default_url = "/lab"
c.JupyterHub.allow_named_servers = True
if os.geteuid() == 0:
    # In a container, say. Jupyter wants to be told that this is meant.
    c.SkyPortSpawner.args = ["--allow-root"]

# Managed services start only after the hub has looked for servers of an earlier run, and those are
# known to the core: so do not wait for the result.
c.JupyterHub.init_spawners_timeout = 1

# Ports of the hub's own parts. With PORT=8000 these are JupyterHub's usual 8081 and 8001. They
# follow PORT, so that two hubs do not meet, and stay the same over a restart, because running
# servers know the hub by its port.
step = 1 if port <= 65400 else -1
hub_port, proxy_port, core_port = port + 81 * step, port + step, port + 82 * step

# Sites, limits and the like of the core go into a file of its own, SKYPORT_HOME/skyport_config.py.
c.JupyterHub.services = [
    {
        "name": "skyport",
        # The core's REST API, for browsers and for programs with a token: /services/skyport/
        "url": f"http://127.0.0.1:{core_port}",
        "oauth_no_confirm": True,
        "command": [
            sys.executable,
            "-m",
            "skyport_core",
            # A hub that was killed leaves its core behind; the new one takes its place.
            "--SkyPortCore.takeover=True",
            "--SkyPortCore.cancel_on_exit=True",
        ],
        "environment": {"SKYPORT_HOME": str(home), "PATH": os.environ["PATH"]},
    }
]

# -- who may do what at the core -------------------------------------------------------------------

c.JupyterHub.custom_scopes = {
    "custom:skyport:jobs:read": {"description": "See one's own Sky Port jobs"},
    "custom:skyport:jobs:write": {
        "description": "Submit, change and cancel one's own Sky Port jobs",
        "subscopes": ["custom:skyport:jobs:read"],
    },
    "custom:skyport:admin": {
        "description": "See and change the Sky Port jobs of all users, and drain nodes",
        "subscopes": ["custom:skyport:jobs:write"],
    },
    # In no role here: the core's HTTPS door, for which certificates are, is not open.
    "custom:skyport:certificates": {"description": "Get short-lived Sky Port certificates"},
}
# A user's own tokens have what the user has. The tokens of servers have the role "server", which is
# left as it is: what runs in a server cannot act as its user at the core.
c.JupyterHub.load_roles = [
    {
        "name": "user",
        "scopes": ["self", "access:services!service=skyport", "custom:skyport:jobs:write"],
    },
    {
        "name": "skyport-admin",
        "description": "Admins of Sky Port",
        "scopes": ["access:services!service=skyport", "custom:skyport:admin"],
        "users": sorted(admins),
    },
]

# -- the hub's own parts ---------------------------------------------------------------------------

c.JupyterHub.hub_port = hub_port
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{proxy_port}"

c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(state / "proxy.pid")
c.JupyterHub.data_files_path = str(Path(sys.prefix) / "share" / "jupyterhub")


def proxy_command() -> list[str]:
    """The Node.js proxy if one is installed; else the one in Python, made to stream."""
    own = Path(sys.executable).parent
    folders = [folder for folder in os.get_exec_path() if Path(folder).absolute() != own]
    reference = shutil.which("configurable-http-proxy", path=os.pathsep.join(folders))
    if reference is not None:
        return [reference]
    if importlib.util.find_spec("configurable_http_proxy") is not None:
        return [sys.executable, "-m", "skyport_spawner.proxy"]
    beside = own / "configurable-http-proxy"
    if beside.exists():
        # Conda puts the Node.js proxy beside Python.
        return [str(beside)]
    raise SystemExit(
        "No proxy found. Install one of them:\n"
        f"  {sys.executable} -m pip install configurable-http-proxy\n"
        "  npm install --global configurable-http-proxy"
    )


c.ConfigurableHTTPProxy.command = proxy_command()
