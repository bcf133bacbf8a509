"""Points of the curve edwards25519, as far as the check of a public key needs them (RFC 8032 §5.1).

OpenSSL takes any 32 bytes for a key. With a key of small order, one signature is good for many messages, so that each
reader of the key could sign. No library of ours refuses them.
"""

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN = 1 << 255

_EIGHTH = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL = frozenset({0, 1, _P - 1, _EIGHTH, _P - _EIGHTH})
"""The y of the points of small order: of order 4, 1 and 2, and of order 8."""


def problem_of(encoded: bytes) -> str | None:
    """Return what is wrong with 32 bytes as an Ed25519 public key, or None."""
    whole = int.from_bytes(encoded, "little")
    y = whole & (_SIGN - 1)
    if y >= _P:
        return "its point is not in the canonical form"
    if y in _SMALL:
        return "its point is of small order, so that one signature would be good for many messages"
    if not _has_x(y):
        return "it is no point of the curve"
    return None


def _has_x(y: int) -> bool:
    """Return whether a point has this y: -x² + y² = 1 + d·x²·y² has a solution, so x² is a square (Euler)."""
    x_squared_times_a_square = (y * y - 1) * (_D * y * y + 1)
    return pow(x_squared_times_a_square, (_P - 1) // 2, _P) == 1
