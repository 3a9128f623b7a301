"""Where a URL that somebody gave us may lead."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.transport.guard import AllowList, forbidden_because, read_allow_list

NOTHING = AllowList()

FORBIDDEN = (
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9", "168.63.129.16", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1",
    "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "ff02::1", "::127.0.0.1",
)  # fmt: skip
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8")


@pytest.mark.parametrize("text", FORBIDDEN)
def test_addresses_that_are_not_public_are_forbidden(text: str) -> None:
    assert forbidden_because(ipaddress.ip_address(text), NOTHING) is not None


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_not(text: str) -> None:
    assert forbidden_because(ipaddress.ip_address(text), NOTHING) is None


@given(st.ip_addresses(v=4))
@settings(max_examples=200)
def test_wrapping_an_address_changes_nothing(inner: ipaddress.IPv4Address) -> None:
    plain = forbidden_because(inner, NOTHING)
    value = int(inner)
    for wrapped in (0xFFFF << 32 | value, 0x64FF9B << 96 | value, 0x2002 << 112 | value << 80):
        assert forbidden_because(ipaddress.IPv6Address(wrapped), NOTHING) == plain


def test_an_operator_may_allow_networks_addresses_and_names() -> None:
    allowed = read_allow_list(["10.1.0.0/16", "127.0.0.1", "fd00::/8", "files.lan", ".corp.example"])
    verdicts = {
        text: forbidden_because(ipaddress.ip_address(text), allowed) is None
        for text in ("10.1.2.3", "10.2.0.1", "127.0.0.1", "127.0.0.2", "fd00::1", "::ffff:10.1.2.3", "169.254.169.254")
    }
    assert [text for text, good in verdicts.items() if good] == ["10.1.2.3", "127.0.0.1", "fd00::1", "::ffff:10.1.2.3"]
    names = ("files.lan", "FILES.lan.", "x.files.lan", "a.corp.example", "corp.example", "evilcorp.example")
    assert [name for name in names if allowed.has_name(name)] == ["files.lan", "FILES.lan.", "a.corp.example"]


@pytest.mark.parametrize("entry", ["http://a", "10.0.0.0/99", "a b", "*.lan", "", "a:80"])
def test_what_is_neither_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="no network"):
        read_allow_list([entry])
