"""Which addresses a URL that somebody gave us may lead to.

Source of the ranges: IANA's special-purpose address registries for IPv4 and IPv6; the clouds' documentation for their
metadata services.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import msgspec

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_RANGES: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("169.254.0.0/16", "link-local, where clouds keep their metadata services"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "special-purpose"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "special-purpose"),
    ("192.52.193.0/24", "special-purpose"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "special-purpose"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("100::/64", "discard-only"),
    ("64:ff9b:1::/48", "local NAT64"),
    ("2001::/23", "special-purpose"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_FORBIDDEN = tuple((ipaddress.ip_network(text), word) for text, word in _RANGES)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_6TO4 = ipaddress.ip_network("2002::/16")
_COMPATIBLE = ipaddress.ip_network("::/96")


class AllowList(msgspec.Struct, frozen=True):
    """What an operator lets through in spite of everything: networks, and names (`.example.lan` is all below it)."""

    networks: tuple[IpNetwork, ...] = ()
    names: frozenset[str] = frozenset()

    def has_name(self, host: str) -> bool:
        """Whether a host is allowed by its name, wherever it leads."""
        host = host.lower().rstrip(".")
        if host in self.names:
            return True
        parts = host.split(".")
        return any("." + ".".join(parts[place:]) in self.names for place in range(1, len(parts)))

    def has_address(self, address: IpAddress) -> bool:
        """Whether an address is in an allowed network."""
        return any(address in network for network in self.networks if network.version == address.version)


def read_allow_list(entries: Iterable[str]) -> AllowList:
    """Networks (`10.1.0.0/16`), addresses and host names. Raises ValueError naming what is none."""
    networks: list[IpNetwork] = []
    names: set[str] = set()
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            name = entry.lower().rstrip(".")
            if not name.strip(".") or any(char in name for char in "/:@ *"):
                raise ValueError(f"{entry!r} is no network (10.1.0.0/16), address or host name") from None
            names.add(name)
    return AllowList(tuple(networks), frozenset(names))


def forbidden_because(address: IpAddress, allowed: AllowList) -> str | None:
    """Why nothing may be fetched from an address (`loopback`, `private`, …); None when it may."""
    for inner in _unwrapped(address):
        if allowed.has_address(inner):
            continue
        for network, word in _FORBIDDEN:
            if network.version == inner.version and inner in network:
                return word
        if not inner.is_global:
            return "not public"
    return None


def _unwrapped(address: IpAddress) -> list[IpAddress]:
    """The address, or the IPv4 one that is wrapped in it and that a packet would reach in the end."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    value = int(address)
    if address in _NAT64 or (address in _COMPATIBLE and value > 1):
        return [ipaddress.IPv4Address(value & 0xFFFFFFFF)]
    if address in _6TO4:
        return [ipaddress.IPv4Address(value >> 80 & 0xFFFFFFFF)]
    return [address]
