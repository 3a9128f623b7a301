"""How connections to providers are secured."""

from __future__ import annotations

import ssl


def client_context(*, ca_file: str | None = None, verify: bool = True) -> ssl.SSLContext:
    """A context that trusts the system's authorities and those in `ca_file` (PEM); `verify=False` trusts anybody, for
    servers on one's own machines."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
