"""Who may call: the clients of a tenant, and the tokens that they get."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.infra.arm.clock import Clock
from tests.infra.arm.router import ArmError

EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
RESOURCES = ("https://management.azure.com", "https://management.core.windows.net")


@functools.lru_cache(maxsize=2)
def signing_key(number: int) -> rsa.RSAPrivateKey:
    """A key of this process: 0 is the authority's, 1 that of federated issuers."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Issuer:
    """Another token service whose tokens a client may show instead of a secret.

    Attributes
    ----------
    url
        Its name in tokens (``iss``).
    subject
        The workload that may act for the client (``sub``).
    """

    url: str
    subject: str
    key: rsa.RSAPrivateKey = field(default_factory=lambda: signing_key(1), repr=False)

    def token(self, *, subject: str = "", audience: str = EXCHANGE_AUDIENCE, age: int = 0) -> str:
        """A workload's token, made ``age`` seconds ago; it holds for an hour."""
        now = int(Clock().time()) - age
        claims = {"iss": self.url, "sub": subject or self.subject, "aud": audience}
        return jwt.encode({**claims, "iat": now, "exp": now + 3600}, self.key, algorithm="RS256")


@dataclass
class Client:
    """An application or a managed identity.

    Attributes
    ----------
    client_id, object_id
        What it is called in requests, and what roles are assigned to.
    secrets
        Each one lets it in.
    certificates
        A client assertion signed with the key of one lets it in.
    issuers
        Federated credentials.
    resource_id
        Of a user-assigned managed identity.
    """

    client_id: str
    object_id: str
    secrets: set[str] = field(default_factory=set)
    certificates: list[x509.Certificate] = field(default_factory=list)
    issuers: list[Issuer] = field(default_factory=list)
    resource_id: str = ""

    def trust(self, pem: bytes) -> None:
        """Register a certificate."""
        self.certificates.append(x509.load_pem_x509_certificate(pem))

    def federate(self, url: str, subject: str) -> Issuer:
        """Register a federated credential; its issuer makes tokens for it."""
        issuer = Issuer(url, subject)
        self.issuers.append(issuer)
        return issuer


class Authority:
    """One tenant: its clients, and the tokens that it issued.

    Parameters
    ----------
    tenant_id
        The tenant.
    clock
        The endpoint's time.
    lifetime
        Seconds that a new token is good for.

    Attributes
    ----------
    audiences
        Resources that ARM takes tokens for.
    clients
        By client id.
    identities
        Managed identities of the machine where the core runs; the first without a
        ``resource_id`` is the system-assigned one.
    announced
        Seconds that clients are told their token is good for; None tells the truth.
    issued
        How many tokens were issued.
    """

    def __init__(self, tenant_id: str, clock: Clock | None = None, lifetime: int = 3599) -> None:
        self.tenant_id = tenant_id
        self.lifetime = lifetime
        self.announced: int | None = None
        self.audiences: set[str] = set(RESOURCES)
        self.clients: dict[str, Client] = {}
        self.identities: list[Client] = []
        self.issued = 0
        self._clock = clock or Clock()
        self._key = signing_key(0)
        self._live: set[str] = set()
        self._fresh: set[str] | None = None

    def add_client(self, client_id: str = "", secret: str = "") -> Client:
        """Register an application."""
        client = Client(client_id or str(uuid.uuid4()), str(uuid.uuid4()))
        client.secrets.update({secret} if secret else ())
        self.clients[client.client_id] = client
        return client

    def add_identity(self, resource_id: str = "") -> Client:
        """Give the machine of the core a managed identity; system-assigned without an id."""
        identity = Client(str(uuid.uuid4()), str(uuid.uuid4()), resource_id=resource_id)
        self.identities.append(identity)
        return identity

    def told(self) -> int:
        """Seconds that clients are told a new token is good for."""
        return self.lifetime if self.announced is None else self.announced

    def issue(self, client: Client, resource: str, claims: str = "") -> str:
        """Make an access token.

        Parameters
        ----------
        client
            Who gets it.
        resource
            Its audience.
        claims
            The request's ``claims`` parameter: JSON, "" for none.
        """
        now = int(self._clock.time())
        token_id = uuid.uuid4().hex
        body = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{self.tenant_id}/",
            "iat": now,
            "nbf": now,
            "exp": now + self.lifetime,
            "appid": client.client_id,
            "idtyp": "app",
            "oid": client.object_id,
            "sub": client.object_id,
            "tid": self.tenant_id,
            "uti": token_id,
            "ver": "1.0",
        }
        if client.resource_id:
            body["xms_mirid"] = client.resource_id
        self.issued += 1
        self._live.add(token_id)
        if self._fresh is not None and "nbf" in _claims(claims).get("access_token", {}):
            self._fresh.add(token_id)
        return jwt.encode(body, self._key, algorithm="RS256", headers={"kid": self.key_id()})

    def token_for(
        self, resource_id: str, keys: dict[str, str], resource: str
    ) -> dict[str, Any] | None:
        """What the metadata service of a machine says when asked for a token.

        Parameters
        ----------
        resource_id, keys
            The managed identity: its id, ``clientId`` and ``principalId``.
        resource
            The audience; for one that does not exist the result is None.
        """
        if resource.rstrip("/") not in {each.rstrip("/") for each in self.audiences}:
            return None
        client = Client(keys["clientId"], keys["principalId"], resource_id=resource_id)
        now = int(self._clock.time())
        return {
            "access_token": self.issue(client, resource),
            "client_id": client.client_id,
            "expires_in": str(self.told()),
            "expires_on": str(now + self.told()),
            "ext_expires_in": str(self.told()),
            "not_before": str(now),
            "resource": resource,
            "token_type": "Bearer",
        }

    def expire_tokens(self) -> None:
        """Let every token issued so far be too old, whatever its client believes."""
        self._live.clear()

    def challenge(self) -> None:
        """Refuse tokens until they were asked for with the claims of the refusal (CAE)."""
        self._fresh = set()

    def check(self, header: str | None) -> dict[str, Any]:
        """The claims of an Authorization header.

        Raises
        ------
        ArmError
            401, with the code that tells why.
        """
        kind, _, token = (header or "").partition(" ")
        if not header:
            raise self._unauthorized(
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            )
        if kind.lower() != "bearer":
            raise self._unauthorized(
                "AuthenticationFailedInvalidHeader",
                "Authentication failed. The 'Authorization' header is provided in an invalid"
                " format.",
            )
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                options={
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError:
            raise self._unauthorized(
                "InvalidAuthenticationToken", "The access token is invalid."
            ) from None
        self._check_claims(claims)
        return claims

    def key_id(self) -> str:
        """Names the signing key."""
        number = self._key.public_key().public_numbers().n
        return encode(hashlib.sha256(number.to_bytes(256, "big")).digest()[:20])

    def keys(self) -> dict[str, Any]:
        """The public keys that tokens can be verified with (JWKS)."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "kid": self.key_id()}
        modulus, exponent = numbers.n.to_bytes(256, "big"), numbers.e.to_bytes(3, "big")
        return {"keys": [key | {"n": encode(modulus), "e": encode(exponent)}]}

    def _check_claims(self, claims: dict[str, Any]) -> None:
        if claims["tid"] != self.tenant_id:
            raise self._unauthorized(
                "InvalidAuthenticationTokenTenant",
                f"The access token is from the wrong issuer '{claims['iss']}'. It must match the"
                f" tenant 'https://sts.windows.net/{self.tenant_id}/' associated with this"
                " subscription.",
            )
        if claims["aud"].rstrip("/") not in {each.rstrip("/") for each in self.audiences}:
            allowed = ",".join(f"'{each}'" for each in sorted(self.audiences))
            raise self._unauthorized(
                "InvalidAuthenticationTokenAudience",
                "The access token has been obtained for wrong audience or resource"
                f" '{claims['aud']}'. It should exactly match with one of the allowed audiences"
                f" {allowed}.",
            )
        now = self._clock.time()
        if claims["uti"] not in self._live or now >= claims["exp"]:
            raise self._unauthorized(
                "ExpiredAuthenticationToken",
                f"The access token expiry UTC time '{_spoken(min(claims['exp'], now - 1))}' is"
                f" earlier than current UTC time '{_spoken(now)}'.",
            )
        if self._fresh is not None and claims["uti"] not in self._fresh:
            wanted = {"access_token": {"nbf": {"essential": True, "value": str(int(now))}}}
            encoded = base64.b64encode(json.dumps(wanted).encode()).decode()
            message = "User session has been revoked"
            raise ArmError(
                401,
                "InvalidAuthenticationToken",
                "Continuous access evaluation resulted in claims challenge with result:"
                " InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp",
                headers={
                    "WWW-Authenticate": "Bearer"
                    f' authorization_uri="https://login.windows.net/{self.tenant_id}",'
                    f' error="insufficient_claims", error_description="{message}",'
                    f' claims="{encoded}"'
                },
            )

    def _unauthorized(self, code: str, message: str) -> ArmError:
        challenge = (
            f'Bearer authorization_uri="https://login.windows.net/{self.tenant_id}",'
            f' error="invalid_token", error_description="{message}"'
        )
        headers = {"WWW-Authenticate": challenge, "x-ms-failure-cause": "gateway"}
        return ArmError(401, code, message, headers=headers)


def encode(data: bytes) -> str:
    """Base64 as tokens have it: for URLs, without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _spoken(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.strftime("%m/%d/%Y %I:%M:%S %p")


def _claims(text: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(text) if text else {}
    return claims
