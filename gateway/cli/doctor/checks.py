"""The table of the checks, in the order in which they are shown."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from gateway.cli.doctor import bus, exposure, files, keys, machine, nodes, proxy, store, versions
from gateway.cli.doctor.findings import Finding
from gateway.cli.doctor.subject import Subject

Check: TypeAlias = Callable[[Subject], Iterable[Finding] | AsyncIterable[Finding]]
"""A function that looks at a gateway. One that is not async runs in a thread."""

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "python": versions.python,
        "packages": versions.packages,
        "server": versions.server,
        "tracing": versions.tracing,
        "env file": files.env_file,
        "names": files.names,
        "signing key": keys.signing_key,
        "key files": keys.key_files,
        "data folder": files.data_folder,
        "database": store.database,
        "migrations": store.migrations,
        "disk": machine.disk,
        "backup": files.backup,
        "bus": bus.bus,
        "clock": machine.clock,
        "descriptors": machine.descriptors,
        "memory": machine.memory,
        "origins": exposure.origins,
        "exposure": exposure.exposure,
        "proxies": exposure.proxies,
        "public address": proxy.public_address,
        "routes": files.routes,
        "nodes": nodes.nodes,
    }
)
