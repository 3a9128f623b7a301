"""Keys of stored media and of fetching."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from polyroute.settings.sections import Number, Seconds, Section, Whole, refuse_bool


class S3Settings(Section):
    """How to reach the bucket of `storage.artifacts: s3://bucket/prefix`."""

    endpoint: str | None = None
    """Address of an S3-compatible store (`https://minio.example.com:9000`); Amazon's of the region unless said otherwise."""
    region: str = "us-east-1"
    """Region that requests are signed for."""
    access_key: str | None = None
    """Access key id; AWS_ACCESS_KEY_ID unless said otherwise."""
    secret_key: SecretStr | None = None
    """Its secret; AWS_SECRET_ACCESS_KEY unless said otherwise."""
    session_token: SecretStr | None = None
    """Token of temporary credentials; AWS_SESSION_TOKEN unless said otherwise."""
    path_style: bool | None = None
    """Whether the bucket is written into the path rather than into the host; true with an `endpoint` unless said otherwise."""

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("a URL that begins with http:// or https://")
        return None if value is None else value.rstrip("/")


class ArtifactSettings(Section):
    """Produced and uploaded files: how large, and for how long. `storage.artifacts` says where."""

    retention_days: Number = 30.0
    """Days for which produced files are kept; 0 keeps them until they are deleted. Uploads stay until their owner deletes
    them or they expire as the owner said."""
    prune_every: Seconds = 600.0
    """Seconds between two looks for files that have expired, while the gateway serves."""
    max_file_mb: Whole = Field(default=1024, ge=1, le=5120)
    """Largest file in megabytes, uploaded, produced or fetched."""
    max_megapixels: Annotated[float, BeforeValidator(refuse_bool)] = Field(default=100.0, gt=0, allow_inf_nan=False)
    """Largest image in millions of pixels, as its header claims: small files may unpack to enormous pictures."""
    url_lasts: Seconds = 86_400.0
    """Seconds for which the signed URL of a file is good."""


class FetchSettings(Section):
    """Downloading what callers and providers point at. Only public addresses are fetched from, unless allowed here."""

    allow: list[str] = []
    """Networks (`10.1.0.0/16`), addresses and host names (`files.lan`, `.lan` for all below it) that may be private, and
    plain http for providers."""
    max_size_mb: Whole = Field(default=512, ge=1, le=5120)
    """Largest download in megabytes."""
    timeout: Seconds = 300.0
    """Seconds for a download as a whole."""
    idle: Seconds = 30.0
    """Seconds without a byte."""
    redirects: Whole = Field(default=3, ge=0, le=10)
    """Redirects that are followed; each is checked as the first address was."""

    @field_validator("allow")
    @classmethod
    def _networks_and_names(cls, value: list[str]) -> list[str]:
        for entry in value:
            try:
                ipaddress.ip_network(entry)
            except ValueError:
                if not entry.strip(".") or any(char in entry for char in "/:@ *"):
                    raise ValueError("networks (10.1.0.0/16), addresses and host names") from None
        return value
