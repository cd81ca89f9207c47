"""Entra: the token endpoint and what clients look up beside it, with the errors it words."""

from __future__ import annotations

import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.infra.arm.authority import EXCHANGE_AUDIENCE, Authority, Client, encode
from tests.infra.arm.router import Answer, Call, Router

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def routes(router: Router) -> None:
    """Register the authority's paths, which need no token."""
    add = router.add
    add("POST", "/{tenant}/oauth2/v2.0/token", _token, kind="token.post", public=True)
    add("GET", "/common/discovery/instance", _instance, kind="discovery.get", public=True)
    for version in ("/v2.0", ""):
        path = f"/{{tenant}}{version}/.well-known/openid-configuration"
        add("GET", path, _configuration, kind="configuration.get", public=True)
    add("GET", "/{tenant}/discovery/v2.0/keys", _keys, kind="keys.get", public=True)


class EntraError(Exception):
    """A refusal of the token endpoint: ``{"error", "error_description", "error_codes" …}``."""

    def __init__(self, status: int, error: str, code: int, description: str) -> None:
        super().__init__(f"AADSTS{code}: {description}")
        self.status = status
        self.error = error
        self.code = code
        self.description = description

    def answer(self, base: str, stamp: str) -> Answer:
        """The error as the authority sends it."""
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        moment = stamp[:19].replace("T", " ") + "Z"
        return Answer(
            self.status,
            {
                "error": self.error,
                "error_description": f"AADSTS{self.code}: {self.description} Trace ID: {trace}"
                f" Correlation ID: {correlation} Timestamp: {moment}",
                "error_codes": [self.code],
                "timestamp": moment,
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": f"{base}/error?code={self.code}",
            },
        )


async def _token(call: Call) -> Answer:
    authority = call.arm.authority
    form = call.form
    try:
        _need_tenant(authority, call)
        grant = _need(form, "grant_type")
        if grant != "client_credentials":
            raise EntraError(
                400,
                "unsupported_grant_type",
                70003,
                f"The app requested an unsupported grant type '{grant}'.",
            )
        client = authenticate(authority, form, call.base + call.path)
        resource = _resource(authority, _need(form, "scope"))
    except EntraError as error:
        return error.answer(call.base, call.arm.clock.stamp())
    body = {
        "token_type": "Bearer",
        "expires_in": authority.told(),
        "ext_expires_in": authority.told(),
        "access_token": authority.issue(client, resource, form.get("claims", "")),
    }
    return Answer(200, body, {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})


async def _configuration(call: Call) -> Answer:
    try:
        _need_tenant(call.arm.authority, call)
    except EntraError as error:
        return error.answer(call.base, call.arm.clock.stamp())
    tenant = f"{call.base}/{call.params['tenant']}"
    body = {
        "token_endpoint": f"{tenant}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "jwks_uri": f"{tenant}/discovery/v2.0/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": f"{tenant}/v2.0",
        "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{tenant}/oauth2/v2.0/devicecode",
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
    }
    return Answer(200, body)


async def _instance(call: Call) -> Answer:
    host = call.base.split("://", 1)[1]
    body = {
        "tenant_discovery_endpoint": f"{call.base}/{call.arm.tenant_id}"
        "/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [
            {"preferred_network": host, "preferred_cache": host, "aliases": [host]},
        ],
    }
    return Answer(200, body)


async def _keys(call: Call) -> Answer:
    return Answer(200, call.arm.authority.keys())


def authenticate(authority: Authority, form: dict[str, str], token_url: str) -> Client:
    """The client that a token request proves to come from; :class:`EntraError` otherwise."""
    client_id = _need(form, "client_id")
    client = authority.clients.get(client_id)
    if client is None:
        raise EntraError(
            400,
            "unauthorized_client",
            700016,
            f"Application with identifier '{client_id}' was not found in the directory"
            f" '{authority.tenant_id}'. This can happen if the application has not been installed"
            " by the administrator of the tenant or consented to by any user in the tenant."
            " You may have sent your authentication request to the wrong tenant.",
        )
    if "client_assertion" in form:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise EntraError(
                400,
                "invalid_request",
                90023,
                f"'client_assertion_type' should be set to '{ASSERTION_TYPE}'.",
            )
        _verify_assertion(client, form["client_assertion"], token_url)
    elif "client_secret" not in form:
        raise EntraError(
            401,
            "invalid_client",
            7000218,
            "The request body must contain the following parameter: 'client_assertion' or"
            " 'client_secret'.",
        )
    elif form["client_secret"] not in client.secrets:
        raise EntraError(
            401,
            "invalid_client",
            7000215,
            "Invalid client secret provided. Ensure the secret being sent in the request is"
            " the client secret value, not the client secret ID, for a secret added to app"
            f" '{client_id}'.",
        )
    return client


def _verify_assertion(client: Client, assertion: str, token_url: str) -> None:
    try:
        header = jwt.get_unverified_header(assertion)
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise EntraError(
            401, "invalid_client", 50027, "JWT token is invalid or malformed."
        ) from None
    if claims.get("iss") == client.client_id:
        key, audience = _certificate_key(client, header), token_url
    else:
        key, audience = _issuer_key(client, claims), EXCHANGE_AUDIENCE
    try:
        jwt.decode(assertion, key, algorithms=["RS256", "PS256"], audience=audience)
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
        raise EntraError(
            401,
            "invalid_client",
            700024,
            "Client assertion is not within its valid time range.",
        ) from None
    except jwt.InvalidAudienceError:
        raise EntraError(
            401,
            "invalid_client",
            700023,
            f"Client assertion audience claim does not match Realm issuer '{audience}'.",
        ) from None
    except jwt.InvalidTokenError:
        raise EntraError(
            401,
            "invalid_client",
            700027,
            "Client assertion contains an invalid signature. [Reason - The key was not"
            " found or does not fit.]",
        ) from None


def _certificate_key(client: Client, header: dict[str, Any]) -> rsa.RSAPublicKey:
    wanted = header.get("x5t#S256") or header.get("x5t") or ""
    for certificate in client.certificates:
        prints = [certificate.fingerprint(kind) for kind in (hashes.SHA256(), hashes.SHA1())]
        key = certificate.public_key()
        if wanted.rstrip("=") in map(encode, prints) and isinstance(key, rsa.RSAPublicKey):
            return key
    raise EntraError(
        401,
        "invalid_client",
        700027,
        "The certificate with identifier used to sign the client assertion is not registered on"
        f" application. [Reason - The key was not found., Thumbprint of key used by client:"
        f" '{wanted}'.",
    )


def _issuer_key(client: Client, claims: dict[str, Any]) -> rsa.RSAPublicKey:
    for issuer in client.issuers:
        if (issuer.url, issuer.subject) == (claims.get("iss"), claims.get("sub")):
            return issuer.key.public_key()
    raise EntraError(
        401,
        "invalid_client",
        700213,
        "No matching federated identity record found for presented assertion subject"
        f" '{claims.get('sub')}'. Check your federated identity credential Subject, Audience and"
        " Issuer against the presented assertion.",
    )


def _resource(authority: Authority, scope: str) -> str:
    """What a token is asked for: the scope without its "/.default"."""
    resource, slash, permission = scope.rpartition("/")
    if not slash or permission != ".default":
        raise EntraError(
            400,
            "invalid_scope",
            1002012,
            f"The provided value for scope {scope} is not valid. Client credential flows must have"
            " a scope value with /.default suffixed to the resource identifier (application ID"
            " URI).",
        )
    if resource.rstrip("/") not in {each.rstrip("/") for each in authority.audiences}:
        raise EntraError(
            400,
            "invalid_resource",
            500011,
            f"The resource principal named {resource} was not found in the tenant named"
            f" {authority.tenant_id}.",
        )
    return resource


def _need_tenant(authority: Authority, call: Call) -> None:
    tenant = call.params["tenant"]
    if tenant.lower() != authority.tenant_id.lower():
        raise EntraError(
            400,
            "invalid_request",
            90002,
            f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and"
            " are signing into the correct cloud.",
        )


def _need(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise EntraError(
            400,
            "invalid_request",
            900144,
            f"The request body must contain the following parameter: '{name}'.",
        )
    return form[name]
