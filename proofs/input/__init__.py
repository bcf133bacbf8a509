"""Proof of row 1: no malformed input harms the gateway, and no odd text is changed on its way."""

from proofs.bar import Bar, Proof, Report, Scale
from proofs.input.framing import prove_framing
from proofs.input.fuzz import prove_fuzz
from proofs.input.naughty import prove_naughty
from proofs.input.parsing import prove_parsing


async def _prove(scale: Scale, report: Report) -> list[Bar]:
    bars = [*await prove_framing(report), *await prove_parsing(report)]
    return [*bars, *await prove_naughty(scale, report), *await prove_fuzz(scale, report)]


PROOF = Proof(
    "input",
    "Frames that break RFC 6455, JSON that is none, texts that other programs stumble over, and a fuzzer.",
    _prove,
)
