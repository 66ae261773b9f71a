# Makes the model folder of a shipped model and ends; run it with `slimrank model pull NAME` for another model than the default.
# It is a separate image, since it needs torch. It runs on the processor only, so it has no CUDA.
#   docker build -f deploy/docker/model.Dockerfile -t slimrank-model .
ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm@sha256:519591d6871b7bc437060736b9f7456b8731f1499a57e22e6c285135ae657bf7

FROM ${PYTHON_IMAGE} AS install
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/slimrank
WORKDIR /src
COPY requirements/model.txt requirements/build.txt requirements/
COPY deploy/docker/cuda_stand_ins.py deploy/docker/
# The lock is complete except for CUDA, which torch requires: hence --no-deps.
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then export PIP_CERT=/run/ca.crt; fi; \
    /opt/slimrank/bin/pip install --no-deps --require-hashes -r requirements/build.txt -r requirements/model.txt \
    && site=$(/opt/slimrank/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && python3 deploy/docker/cuda_stand_ins.py "$site" \
    # Headers of torch and tests are not needed in the image.
    && rm -r "$site/torch/include" && find /opt/slimrank -type d -name tests -prune -exec rm -r {} + \
    && /opt/slimrank/bin/python -c 'import torch'
COPY pyproject.toml README.md ./
COPY slimrank slimrank
COPY connector connector
COPY training training
COPY onnx_export onnx_export
COPY models models
COPY deploy deploy
# Built with the build tools of the lock and without the network: an isolated build would download them without checking hashes.
RUN /opt/slimrank/bin/pip install --no-deps --no-index --no-build-isolation .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --create-home slimrank && install -d -o slimrank /models
COPY --from=install /opt/slimrank /opt/slimrank
ENV PATH=/opt/slimrank/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SLIMRANK_HOME=/models
USER 10001
VOLUME /models
CMD ["slimrank", "model", "pull"]
