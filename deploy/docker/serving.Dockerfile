# Gateway and worker: one installation, two images. They have no torch and no compiler, and do not run as root.
#   docker build -f deploy/docker/serving.Dockerfile --target gateway -t slimrank-gateway .
#   docker build -f deploy/docker/serving.Dockerfile --target worker -t slimrank-worker .
#   docker build -f deploy/docker/serving.Dockerfile --target worker --build-arg REQUIREMENTS=gpu -t slimrank-worker-gpu .
# Behind a proxy with its own certificate, add: --secret id=ca,src=/path/to/ca.crt
ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm@sha256:519591d6871b7bc437060736b9f7456b8731f1499a57e22e6c285135ae657bf7

FROM ${PYTHON_IMAGE} AS install
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/slimrank
WORKDIR /src
ARG REQUIREMENTS=serve
COPY requirements/${REQUIREMENTS}.txt requirements/build.txt requirements/
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then export PIP_CERT=/run/ca.crt; fi; \
    /opt/slimrank/bin/pip install --require-hashes -r requirements/build.txt -r requirements/${REQUIREMENTS}.txt
COPY pyproject.toml README.md ./
COPY slimrank slimrank
COPY connector connector
COPY training training
COPY onnx_export onnx_export
COPY models models
COPY deploy deploy
# Built with the build tools of the lock and without the network: an isolated build would download them without checking hashes.
RUN /opt/slimrank/bin/pip install --no-deps --no-index --no-build-isolation . \
    # Tests and tools to install packages are not needed in the image.
    && find /opt/slimrank -type d -name tests -prune -exec rm -r {} + \
    && /opt/slimrank/bin/pip uninstall --quiet --yes setuptools pip

FROM ${PYTHON_IMAGE} AS runtime
# A new volume gets the owner of the folder that it is mounted on; the compose file mounts volumes on these folders.
RUN useradd --uid 10001 --create-home slimrank \
    && for folder in /models /demo /audits /redis-secrets /grafana-secrets; do install -d -o slimrank "$folder"; done
COPY --from=install /opt/slimrank /opt/slimrank
ENV PATH=/opt/slimrank/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SLIMRANK_HOME=/models
USER 10001
VOLUME /models

FROM runtime AS worker
STOPSIGNAL SIGTERM
CMD ["slimrank", "worker"]

FROM runtime AS gateway
ENV SLIMRANK_HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=6s --start-period=20s \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=5)"]
STOPSIGNAL SIGTERM
CMD ["slimrank", "serve"]
