# Two images: the service with its commands, the watcher among them (target `service`, the default), and the
# worker that runs assistants (target `worker`). docs/containers.md tells how they are built and run.

FROM python:3.11-slim-bookworm AS service-packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/webcall \
    && pip --python /opt/webcall install --require-hashes --requirement requirements.lock
COPY setup.py pyproject.toml ./
COPY scripts scripts
COPY plugins plugins
COPY webcall webcall
# setup.py fetches LiveKit's library for browsers from npm, with the Node of PyPI.
RUN pip --python /opt/webcall install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm AS worker-packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements-worker.lock ./
RUN python -m venv --without-pip /opt/webcall \
    && pip --python /opt/webcall install --require-hashes --requirement requirements-worker.lock
COPY setup.py pyproject.toml ./
COPY scripts scripts
COPY plugins plugins
COPY webcall webcall
RUN pip --python /opt/webcall install --no-deps --no-build-isolation .
# Extras of the models that your assistants name, such as openai,deepgram: docs/models.md. No lock has them;
# what the lock has stays as it is, since a newer plugin would bring a newer livekit-agents.
ARG PROVIDERS=
# hadolint ignore=DL3013
RUN if [ -n "$PROVIDERS" ]; then \
        sed -n '/^[a-z]/s/ \\$//p' requirements-worker.lock > locked.txt \
        && pip --python /opt/webcall install --no-build-isolation --constraint locked.txt ".[$PROVIDERS]"; \
    fi

# No compiler, no Node, and nothing that the user of the process could change.
FROM python:3.11-slim-bookworm AS base
RUN groupadd --gid 10001 webcall \
    && useradd --uid 10001 --gid webcall --no-create-home --home-dir /tmp --shell /usr/sbin/nologin webcall \
    && install --directory --owner webcall --group webcall /srv/webcall/instance
ENV PATH=/opt/webcall/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/webcall
COPY config.yaml wsgi.py gunicorn.conf.py ./
USER 10001:10001

FROM base AS worker
COPY --from=worker-packages /opt/webcall /opt/webcall
ENV WEBCALL_WORKER_HEALTH_PORT=8081 \
    WEBCALL_WORKER_METRICS_PORT=8082
# A call may go on for WEBCALL_WORKER_DRAIN_S after SIGTERM: stop with at least as long a grace.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8081/', timeout=4)"]
CMD ["python", "-m", "webcall.worker", "start"]

FROM base AS service
COPY --from=service-packages /opt/webcall /opt/webcall
ENV WEBCALL_BIND=0.0.0.0:8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["gunicorn"]
