"""AWS Bedrock, Converse: a bearer key, or requests signed with Signature Version 4 by botocore (extra `bedrock`)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from polyroute.ports import Body, Credential, Endpoint, Headers, WireRequest
from polyroute.providers.catalog_adapter import CatalogAdapter
from polyroute.providers.conversation import shorten_call_ids
from polyroute.types.chat import ChatRequest
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.operations import Dialect
from polyroute.types.plans import Target

_SERVICE = "bedrock"
_DEFAULT_REGION = "us-east-1"
_CALL_ID = (r"[A-Za-z0-9_.:-]{1,64}", 32)


class BedrockAdapter(CatalogAdapter):
    """A credential is a Bedrock API key (`AWS_BEARER_TOKEN_BEDROCK`), or `ACCESS_KEY_ID:SECRET_ACCESS_KEY`, or these with
    `:SESSION_TOKEN`. The region is the row's `region` option, else the one in its base URL."""

    refuses = frozenset({"image_url"})

    def __init__(self, row: Any, **settings: Any) -> None:
        super().__init__(row, **settings)
        self.region = str(row.options.get("region") or _region_of(row.base_url) or _DEFAULT_REGION)

    def address(self, endpoint: Endpoint) -> str:
        """`{region}` in a base URL is filled in; the model id is percent-encoded as a whole."""
        return super().address(endpoint).replace("{region}", self.region)

    def request(
        self,
        endpoint: Endpoint,
        target: Target,
        credential: Credential | None,
        *,
        body: bytes | Body,
        content_type: bytes,
        stream: bool,
        forward: Headers,
    ) -> WireRequest:
        """The request, signed. Raises AttemptFailed (credential_rejected) where it cannot be signed."""
        signs = credential is not None and is_key_pair(credential.secret)
        request = super().request(
            endpoint, target, None if signs else credential,
            body=body, content_type=content_type, stream=stream, forward=forward,
        )  # fmt: skip
        if not signs or credential is None:
            return request
        return sign(request, credential.secret, self.region)

    def fixed_headers(self, endpoint: Endpoint, secret: str, content_type: bytes, *, stream: bool) -> Headers:
        """A key goes as a bearer."""
        bearer = Endpoint(dialect=endpoint.dialect, path=endpoint.path, auth="bearer")
        return super().fixed_headers(bearer, secret, content_type, stream=stream)

    def fit(self, endpoint: Endpoint, request: ChatRequest) -> tuple[ChatRequest, tuple[str, ...]]:
        """Call ids of at most 64 letters, digits and `_.:-`."""
        if endpoint.dialect is not Dialect.BEDROCK_CONVERSE:
            return request, ()
        return shorten_call_ids(request, *_CALL_ID)


def is_key_pair(secret: str) -> bool:
    """Whether a credential is an AWS access key with its secret, rather than a Bedrock API key."""
    key_id, colon, rest = secret.partition(":")
    return bool(colon and key_id and rest) and key_id.isalnum() and key_id.isupper()


def _region_of(base_url: str) -> str | None:
    host = (urlsplit(base_url).hostname or "").split(".")
    return host[1] if len(host) > 2 and host[0].startswith("bedrock") and "{" not in host[1] else None


def sign(request: WireRequest, secret: str, region: str) -> WireRequest:
    """The request with the headers of Signature Version 4."""
    try:
        from botocore.auth import SigV4Auth  # noqa: PLC0415 optional, and slow to import
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        from botocore.credentials import Credentials  # noqa: PLC0415
    except ImportError as error:
        raise AttemptFailed(
            Failure(
                kind=ErrorKind.CREDENTIAL_REJECTED,
                message="AWS access keys need the extra: pip install 'polyroute[bedrock]' (or set AWS_BEARER_TOKEN_BEDROCK)",
            )
        ) from error
    key_id, access_secret, *session = secret.split(":", 2)
    body = request.body if isinstance(request.body, bytes) else b"".join(request.body.chunks())
    kept = {name.decode(): value.decode() for name, value in request.headers}
    signed = AWSRequest(method=request.method, url=request.url, data=body, headers=kept)
    SigV4Auth(Credentials(key_id, access_secret, session[0] if session else None), _SERVICE, region).add_auth(signed)
    headers = [(name.lower().encode(), value.encode()) for name, value in signed.headers.items()]
    return WireRequest(request.method, request.url, [field for field in headers if field[0] != b"host"], body)
