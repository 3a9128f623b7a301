"""Ed25519 signatures (RFC 8032) in plain integers: slow, and enough for a callback now and then."""

from __future__ import annotations

import hashlib
from functools import cache

_PRIME = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _PRIME - 2, _PRIME) % _PRIME
_Point = tuple[int, int, int, int]


def _add(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _PRIME
    b = (one[1] + one[0]) * (other[1] + other[0]) % _PRIME
    c = 2 * one[3] * other[3] * _D % _PRIME
    d = 2 * one[2] * other[2] % _PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _PRIME, g * h % _PRIME, f * g % _PRIME, e * h % _PRIME


def _times(factor: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _add(total, point)
        point = _add(point, point)
        factor >>= 1
    return total


@cache
def _base() -> _Point:
    y = 4 * pow(5, _PRIME - 2, _PRIME) % _PRIME
    square = (y * y - 1) * pow(_D * y * y + 1, _PRIME - 2, _PRIME) % _PRIME
    x = pow(square, (_PRIME + 3) // 8, _PRIME)
    if (x * x - square) % _PRIME:
        x = x * pow(2, (_PRIME - 1) // 4, _PRIME) % _PRIME
    x = _PRIME - x if x & 1 else x
    return x, y, 1, x * y % _PRIME


def _packed(point: _Point) -> bytes:
    inverse = pow(point[2], _PRIME - 2, _PRIME)
    x, y = point[0] * inverse % _PRIME, point[1] * inverse % _PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _secret(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    return int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254, digest[32:]


@cache
def public_key(seed: bytes) -> bytes:
    """The 32 bytes of the public key that belongs to a 32 byte seed."""
    return _packed(_times(_secret(seed)[0], _base()))


def sign(seed: bytes, message: bytes) -> bytes:
    """The 64 bytes of the signature."""
    secret, prefix = _secret(seed)
    nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % _ORDER
    point = _packed(_times(nonce, _base()))
    challenge = int.from_bytes(hashlib.sha512(point + public_key(seed) + message).digest(), "little") % _ORDER
    return point + ((nonce + challenge * secret) % _ORDER).to_bytes(32, "little")
