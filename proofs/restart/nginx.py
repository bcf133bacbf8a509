"""nginx in front of nodes of this machine, without TLS."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which

from benchmarks.rig import free_port

START_SECONDS = 20

CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_rlimit_nofile 10000;
events {{ worker_connections 5000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream gateway {{
        least_conn;
        {servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://gateway;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 90s;
            proxy_connect_timeout 2s;
            proxy_buffering off;
        }}
    }}
}}
"""
"""As in deploy/nginx.conf, but for TLS, the log and the limits of an address."""


@asynccontextmanager
async def running_nginx(folder: Path, nodes: Sequence[int]) -> AsyncIterator[int]:
    """Run nginx in front of the nodes at some ports, and yield its own port."""
    program = which("nginx") or which("nginx", path="/usr/sbin")
    if program is None:
        raise RuntimeError("this proof needs nginx: apt-get install nginx-light")
    port = free_port()
    servers = "\n        ".join(f"server 127.0.0.1:{node} max_fails=0;" for node in nodes)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, servers=servers, port=port), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(program, "-c", str(file), "-e", str(folder / "nginx.log"))
    try:
        async with asyncio.timeout(START_SECONDS):
            await _takes_connections(port, process)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _takes_connections(port: int, process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise RuntimeError("nginx did not start; it has said why above")
