"""The only reader of the environment and of the configuration file."""

from polyroute.settings.load import Settings, load_settings
from polyroute.settings.models import (
    AuthSettings,
    BreakerSettings,
    DefaultSettings,
    ProviderSettings,
    RouteSettings,
    SandboxSettings,
    ServerSettings,
    StorageSettings,
    TimeoutSettings,
)
from polyroute.settings.problems import ConfigurationError, Origin, Problem
from polyroute.settings.watch import watch

__all__ = [
    "AuthSettings",
    "BreakerSettings",
    "ConfigurationError",
    "DefaultSettings",
    "Origin",
    "Problem",
    "ProviderSettings",
    "RouteSettings",
    "SandboxSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TimeoutSettings",
    "load_settings",
    "watch",
]
