"""Which variables reach a server, literally or with places that the core fills in."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from skyport_spawner.environment import ServerEnvironment, host_port, server_environment

HUB = {
    "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/ann/",
    "JUPYTERHUB_API_URL": "http://10.0.0.1:8081/hub/api",
    "JUPYTERHUB_ACTIVITY_URL": "http://10.0.0.1:8081/hub/api/users/ann/activity",
    "JUPYTERHUB_API_TOKEN": "secret",
}


def made(env: Mapping[str, object], configured: tuple[str, ...] = (), **options: bool):
    return server_environment(
        env, configured=configured, base_url="/user/ann/", **({"tls": False} | options)
    )


def test_the_server_listens_on_the_jobs_own_address():
    assert made(HUB).templates["JUPYTERHUB_SERVICE_URL"] == "http://{address}:{port}/user/ann/"
    assert made(HUB, tls=True).templates["JUPYTERHUB_SERVICE_URL"].startswith("https://{address}")


def test_the_hubs_api_goes_through_a_forward():
    made_of = made(HUB)
    assert made_of.forwards == {"hub": "10.0.0.1:8081"}
    assert made_of.templates["JUPYTERHUB_API_URL"] == "http://{forward:hub}/hub/api"
    assert (
        made_of.templates["JUPYTERHUB_ACTIVITY_URL"]
        == "http://{forward:hub}/hub/api/users/ann/activity"
    )
    assert made_of.literal == {"JUPYTERHUB_API_TOKEN": "secret"}


def test_without_the_forward_the_hubs_own_url_is_sent():
    made_of = made(HUB, forward_hub=False)
    assert made_of.forwards == {}
    assert made_of.literal["JUPYTERHUB_API_URL"] == HUB["JUPYTERHUB_API_URL"]


def test_what_the_admin_set_is_sent_as_it_is():
    env = {**HUB, "JUPYTERHUB_API_URL": "https://hub.example/api", "PATH": "/opt/bin"}
    made_of = made(env, ("JUPYTERHUB_API_URL", "PATH"))
    assert made_of.literal["JUPYTERHUB_API_URL"] == "https://hub.example/api"
    assert made_of.literal["PATH"] == "/opt/bin"


def test_what_describes_the_hubs_machine_is_left_out():
    env = {"PATH": "/hub", "VIRTUAL_ENV": "/v", "CONDA_PREFIX": "/c", "LD_LIBRARY_PATH": "/l"}
    assert made({**env, "LANG": "C.UTF-8"}) == ServerEnvironment(
        {"LANG": "C.UTF-8"}, made({}).templates, {}
    )


def test_certificates_are_found_in_the_jobs_folder():
    env = {"JUPYTERHUB_SSL_KEYFILE": "{job_dir}/tls/keyfile.pem"}
    assert made(env, tls=True).templates["JUPYTERHUB_SSL_KEYFILE"] == "{job_dir}/tls/keyfile.pem"


def test_values_become_text_and_none_is_left_out():
    assert made({"A": 1, "B": None}).literal == {"A": "1"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://hub/api", "hub:80"),
        ("https://hub/api", "hub:443"),
        ("http://[::1]:8081/hub/api", "[::1]:8081"),
    ],
)
def test_a_forward_has_the_schemes_port(url: str, expected: str):
    assert host_port(url) == expected


def test_a_hub_on_a_unix_socket_cannot_be_forwarded_to():
    with pytest.raises(ValueError, match="not reachable over TCP"):
        host_port("http+unix://%2Frun%2Fhub.sock/hub/api")
