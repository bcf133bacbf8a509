"""Proof of row 2: every answer over HTTP is one that the API's own description names.

schemathesis makes requests of all kinds from `/openapi.json`, right and wrong ones, and compares each answer with it.
The description is that of a development gateway. A production gateway serves none, and is held to the same one.
"""

from proofs.bar import Proof
from proofs.http.runs import prove_http

PROOF = Proof("http", "Each request that the API's description allows, and many that it does not.", prove_http)
