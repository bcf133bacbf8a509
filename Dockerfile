# The image of json-gateway: the wheel of this tree on Python's slim image, as a user without rights.
#
#   docker build --tag json-gateway:1.0.0rc1 .
#
# It runs with a read-only root file system. Only /data is writable. docs/deployment.md shows how to run it.

FROM python:3.13.9-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY . .
RUN PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
      pip wheel --quiet --no-deps --wheel-dir /wheels . ./clients/python \
 && python -m venv --without-pip /opt/gateway \
 && pip --python /opt/gateway/bin/python install --quiet --constraint constraints.txt --find-links /wheels \
      "$(ls /wheels/json_gateway-*.whl)[postgres,redis]"

FROM python:3.13.9-slim-trixie
COPY --from=build /opt/gateway /opt/gateway
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin gateway \
 && install --directory --owner=gateway --group=gateway --mode=0700 /data
# Files that libraries make for a moment belong to /data too, as nothing else is writable.
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/data \
    GATEWAY_ENVIRONMENT=production \
    GATEWAY_DATA_DIR=/data
# By number: Kubernetes cannot see that a name is not that of root.
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
# With a socket alone: libraries for HTTP would take most of its time to import.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-Sc", "import socket as s; c = s.create_connection(('127.0.0.1', 8000), 4); c.sendall(b'GET /healthz HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in c.recv(64))"]
# Without a shell in between, so that SIGTERM reaches the gateway.
ENTRYPOINT ["gateway"]
CMD ["serve", "--host", "0.0.0.0"]
