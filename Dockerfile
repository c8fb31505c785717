# One image for every module: a worker by default, `millrace …` for everything else.
#
#     docker build --tag millrace .
#     docker run --rm --read-only --tmpfs /tmp --volume millrace:/var/lib/millrace millrace
#     docker run --rm … millrace millrace run batch_etl trips --date 2019-01-15
#
# docs/deploy.md says what it needs, and how to add modules and a catalog of one's own.

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

# What is installed is made here, so that neither pip nor a build backend is in the image. uv works out which packages
# run Millrace; versions and hashes are those of requirements.lock.
FROM ${PYTHON_IMAGE} AS build
# Every extra that is for running: one image is for every module and adapter.
ARG EXTRAS="s3 sketches quality otlp cassandra image"
WORKDIR /app
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 UV_CACHE_DIR=/cache UV_LINK_MODE=copy PATH=/build/tools/bin:$PATH
COPY requirements.lock pyproject.toml ./
COPY deploy/image/locked.py /build/
# The secret is the certificate of whoever stands between this build and the package index; without one nothing changes.
RUN --mount=type=secret,id=ca-bundle --mount=type=cache,target=/cache \
    if [ -s /run/secrets/ca-bundle ]; then \
      export PIP_CERT=/run/secrets/ca-bundle SSL_CERT_FILE=/run/secrets/ca-bundle; \
    fi \
    && locked() { python3 /build/locked.py requirements.lock; } \
    && wanted() { uv pip compile --quiet --constraint requirements.lock --no-annotate --no-header "$@"; } \
    && python3 -m venv /build/tools \
    && grep -o '^uv==[^ ]*' requirements.lock | locked >/build/uv.lock \
    && pip install --quiet --require-hashes --no-deps --only-binary :all: -r /build/uv.lock \
    && echo hatchling | wanted - | locked >/build/backend.lock \
    && uv pip install --quiet --python /build/tools --require-hashes --no-deps --only-binary :all: -r /build/backend.lock \
    && python3 -m venv --without-pip /opt/millrace \
    && wanted $(printf -- "--extra %s " $EXTRAS) pyproject.toml | locked >/build/runtime.lock \
    && uv pip install --quiet --python /opt/millrace --require-hashes --no-deps --only-binary :all: -r /build/runtime.lock \
    && /opt/millrace/bin/python -m compileall -q -j 0 /opt/millrace/lib
COPY README.md LICENSE ./
COPY contracts contracts
COPY adapters adapters
COPY modules modules
COPY runtime runtime
COPY migrations migrations
COPY catalog catalog
# Installed in place, as everywhere else: a module that is laid beside the others is found.
RUN hatchling build --target wheel:editable --directory /build/wheel \
    && uv pip install --quiet --python /opt/millrace --no-deps --offline /build/wheel/*.whl \
    && /opt/millrace/bin/python -m compileall -q -j 0 /app

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="millrace" \
      org.opencontainers.image.description="One Python runtime for data services, jobs and streams that accounts for every message." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# The only place that a container writes to, besides /tmp.
RUN groupadd --system --gid 10001 millrace \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/millrace --shell /usr/sbin/nologin millrace \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/millrace /var/lib/millrace/files
COPY --from=build /opt/millrace /opt/millrace
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/millrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MILLRACE_ENV=production \
    MILLRACE_HOME=/var/lib/millrace \
    MILLRACE_LOG=json \
    HEALTH_FILE=/tmp/health.json \
    HTTP_HOST=0.0.0.0
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
VOLUME /var/lib/millrace
EXPOSE 8080
# The grace before a kill is the orchestrator's: some seconds more than DRAIN_TIMEOUT_S.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "runtime.probe"]
# The kernel keeps from process 1 each signal that it has no handler for: a worker that still imports would miss SIGTERM.
# So process 1 is one that passes signals on from its first moment, and that reaps what others leave.
ENTRYPOINT ["dumb-init", "--"]
CMD ["faststream", "run", "runtime.app:app"]
