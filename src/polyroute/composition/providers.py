"""Providers that can be called: each row's adapters, its labelled credentials, and what starts a local one's container."""

from __future__ import annotations

import hashlib

from polyroute.catalog.model import Catalog, Provider
from polyroute.engine.access import ProviderAccess
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import Credential
from polyroute.ports.services import ContainerEngine
from polyroute.providers.media.registry import build_media_adapter
from polyroute.providers.registry import build_adapter
from polyroute.routing.credentials import BenchSettings, CredentialPool, Share
from polyroute.routing.retry import RetryBudget
from polyroute.settings import Settings


def live_providers(catalog: Catalog, bench: BenchSettings | None = None) -> dict[str, LiveProvider]:
    """An adapter and labelled credentials for each provider."""
    return {name: _live_provider(row, bench or BenchSettings()) for name, row in catalog.providers.items()}


def _live_provider(row: Provider, bench: BenchSettings) -> LiveProvider:
    credentials = _credentials(row)
    shares = {
        credential.label: Share(weight=terms.weight, limits=terms.limits)
        for credential in credentials
        if (terms := row.terms.get(credential.secret)) is not None
    }
    access = ProviderAccess(CredentialPool(credentials, shares, bench), row.limits)
    return LiveProvider(row, build_adapter(row), credentials, RetryBudget(), access, build_media_adapter(row))


def _credentials(row: Provider) -> tuple[Credential, ...]:
    """Credentials with labels that tell them apart without revealing them."""
    return tuple(
        Credential(f"{row.name}#{_name(row, secret, number)}-{hashlib.sha256(secret.encode()).hexdigest()[:6]}", secret)
        for number, secret in enumerate(row.credentials, 1)
    )


def _name(row: Provider, secret: str, number: int) -> str:
    terms = row.terms.get(secret)
    return str(number) if terms is None or terms.label is None else terms.label


def container_engine(settings: Settings) -> ContainerEngine | None:
    """What starts and stops containers here, None where nothing does."""
    from polyroute.transport.docker import DockerEngine, docker_address  # noqa: PLC0415 - its HTTP client takes time to load

    address = docker_address(settings.environment.get("DOCKER_HOST"))
    return None if address is None else DockerEngine(address)
