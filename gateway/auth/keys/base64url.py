"""base64url without padding (RFC 4648 §5), in its canonical form alone."""

import binascii
from binascii import a2b_base64, b2a_base64


def decode(part: str) -> bytes:
    """Return the bytes of base64url, or raise `ValueError`. No two texts have the same bytes."""
    encoded = part.encode()
    try:
        raw = a2b_base64(encoded.translate(_TO_BASE64) + b"=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if b2a_base64(raw, newline=False).translate(_TO_BASE64URL).rstrip(b"=") != encoded:
        raise ValueError("not the canonical base64url")
    return raw


_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
_TO_BASE64URL = bytes.maketrans(b"+/", b"-_")
