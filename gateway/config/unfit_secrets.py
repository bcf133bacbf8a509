"""Finds secrets that are unfit for signing, because attackers can guess them.

The samples of tutorials and of jwt.io are on every attacker's list.
"""

import re

MIN_KEY_BYTES = 32
"""The shortest secret for HS256 (RFC 7518 §3.2)."""


def is_guessable(secret: str) -> bool:
    """Return whether a secret is a widespread sample, or consists of few characters, of words or of repetitions."""
    folded = secret.strip().lower()
    return (
        folded in _KNOWN
        or len(set(folded)) < 10
        or _WORDS.search(folded) is not None
        or _SEQUENCE.search(folded) is not None
        or _REPEATED.fullmatch(folded) is not None
    )


_WORDS = re.compile(
    r"^eyj[a-z0-9]|lorem ipsum|bezkoder"
    r"|s[e3]cr[e3]t|chang[e3][-_ ]?(?:me|this|it)|p[a@4][s$5][s$5]w[o0]rd|passphrase|example|default|replace"
    r"|your[-_ ](?:own|256|384|512|jwt|key|token)|signing[-_ ]?key|insecure|qwerty|[-_ ]bits?[-_ ]|random[-_ ]string"
)
_SEQUENCE = re.compile(r"0123456789|1234567890|abcdefghij|qwertyuiop|9876543210")
_REPEATED = re.compile(r"(.{1,16}?)\1+.{0,15}", re.DOTALL)

# Samples that no rule above finds: from FastAPI's tutorial, RFC 7515 A.1, RFC 7520 3.5, jwt.io and Spring tutorials.
_KNOWN = frozenset(
    {
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "aym1sysppbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow",
        "hjtxiz2usn5kbqfbttnwbpdmhkv8fjg-onbc6mxccyg",
        "r9imkoe5crmgvjbbtp4hrqn7qipputoj",
        "0a6b944d-d2fb-46fc-a85e-0295c986cd9f",
        "16f8c0ef4a5d391b26034086c628469d3f9f497f08163ab9b40137092f2909ef",
        "3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b",
        "404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970",
        "413f4428472b4b6250645367566b5970337336763979244226452948404d6351",
        "357638792f423f4428472b4b6250655368566d597133743677397a2443264629",
        "462d4a614e645267556b58703273357638792f423f4528482b4d625165546857",
        "5367566b59703373367639792f423f4528482b4d6251655468576d5a71347437",
        "daf66e01593f61a15b857cf433aae03a005812b31234e149036bcc8dee755dbb",
        "9a4f2c8d3b7a1e6f45c8a0b3f267d8b1d4e6f3c8a9d2b5f8e3a9c8b5f6v8a3d9",
        "-kapdsgvkxp2s5v8y/b?e(h+mbqethwmzq3t6w9z$c&f)j@ncrfujxn2r5u7x!a%",
        "byym000ollmqg6vvvp1oh7xzyr7ghuw1qvuc5dcgt3snm",
        "dd5f3089-40c3-403d-af14-d0c228b05cb4",
    }
)
