"""How the core comes to know its place at a hub, and what it says if that is wrong."""

from __future__ import annotations

import socket

import pytest
from traitlets import TraitError
from traitlets.config import Config

from skyport_core.api import DoorError
from skyport_core.api.doors import HubOptions, hub_sockets
from skyport_core.app import SkyPortCore

SERVICE = {
    "SERVICE_NAME": "skyport",
    "SERVICE_URL": "http://127.0.0.1:8082",
    "SERVICE_PREFIX": "/base/services/skyport/",
    "API_URL": "http://127.0.0.1:8081/base/hub/api",
    "API_TOKEN": "secret",
}


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVICE:
        monkeypatch.delenv(f"JUPYTERHUB_{name}", raising=False)


def core(**options: object) -> SkyPortCore:
    return SkyPortCore(config=Config({"SkyPortCore": options}))


def options(url: str) -> HubOptions:
    return HubOptions(url, "/services/skyport/", "http://127.0.0.1:8081/hub/api", "secret")


def test_a_core_of_its_own_has_no_such_door() -> None:
    assert core().make_hub_options() is None


def test_a_service_takes_its_place_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICE.items():
        monkeypatch.setenv(f"JUPYTERHUB_{name}", value)
    found = core().make_hub_options()
    assert found is not None
    assert (found.root, found.name) == ("/base/services/skyport", "skyport")
    assert found.address == ("127.0.0.1", 8082)


def test_a_core_in_a_users_server_does_not_take_the_servers_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:8888/user/ann/")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "ann's")
    assert core().make_hub_options() is None


def test_a_door_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="hub_api_token is empty"):
        core(hub_door_url="http://127.0.0.1:8082").make_hub_options()


@pytest.mark.parametrize(
    "url", ["8082", "http://127.0.0.1", "https://127.0.0.1:1", "http://[::1:80", "http://x:70000"]
)
def test_a_url_that_is_none_is_named(url: str) -> None:
    with pytest.raises(DoorError, match=r"hub_door_url .*http://HOST:PORT"):
        hub_sockets(options(url))


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(DoorError, match=rf"127\.0\.0\.1:{port} .*already in use"):
            hub_sockets(options(f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize("place", ["db.example.org", "db:http", "*:80", "http://db:80"])
def test_an_allowed_forward_that_is_no_place_is_named(place: str) -> None:
    with pytest.raises(TraitError, match="host:port"):
        SkyPortCore(allowed_forwards=[place])
