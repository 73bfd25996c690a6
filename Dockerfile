# Two images of one source: `service` (gRPC in, jobs out; no engine code's weight, no torch) and `worker`.
#   docker build --target service -t triptych-service .
#   docker build --target worker -t triptych-worker .
#   docker build --target worker --build-arg TORCH_INDEX=<an index with CUDA builds> -t triptych-worker-gpu .
FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    TRIPTYCH_STATE_DIR=/var/lib/triptych TRIPTYCH_MODELS_DIR=/models
RUN useradd --create-home --uid 10001 triptych \
    && install -d -o triptych -g triptych /var/lib/triptych /var/lib/triptych/blobs /models
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY protos/stubs protos/stubs
COPY core core
COPY clients clients
COPY services services
COPY workers workers

FROM base AS service
RUN pip install -c constraints.txt '.[service]' && rm -rf /src/*
USER triptych
ENV TRIPTYCH_LISTEN=0.0.0.0:50051 TRIPTYCH_METRICS_LISTEN=0.0.0.0:9464
EXPOSE 50051 9464
ENTRYPOINT ["triptych-service"]
CMD ["all"]

FROM base AS worker
# The CPU build of torch by default; a GPU image names an index with CUDA builds.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && pip install -c constraints.txt --extra-index-url "$TORCH_INDEX" torch \
    && pip install -c constraints.txt '.[documents,speech,speakers,ocr,vision,lora]' && rm -rf /src/*
USER triptych
ENV TRIPTYCH_METRICS_LISTEN=0.0.0.0:9464
EXPOSE 9464
ENTRYPOINT ["triptych-worker"]
