"""Proofs of the gateway's reliability: each is a command that counts, and compares its counts with bars."""
