# Makes the default model folder once and ends: base weights -> ONNX -> verified. Needs torch, so it is an image of its own.
#   docker build -f deploy/docker/model.Dockerfile -t slimrank-model .
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE}
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/slimrank \
    && useradd --uid 10001 --create-home slimrank && mkdir -p /models && chown slimrank /models
WORKDIR /src
COPY requirements/export.txt requirements/
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then export PIP_CERT=/run/ca.crt; fi; \
    /opt/slimrank/bin/pip install --require-hashes -r requirements/export.txt
COPY pyproject.toml README.md ./
COPY slimrank slimrank
COPY connector connector
COPY training training
COPY onnx_export onnx_export
COPY models models
COPY deploy deploy
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then export PIP_CERT=/run/ca.crt; fi; \
    /opt/slimrank/bin/pip install --no-deps .
ENV PATH=/opt/slimrank/bin:$PATH PYTHONUNBUFFERED=1 SLIMRANK_HOME=/models
USER 10001
VOLUME /models
CMD ["slimrank", "model", "pull"]
