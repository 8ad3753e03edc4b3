# swellmq in a container. The image opens nothing by itself: say where to listen, and how users are known.
#
#   docker build -t swellmq .
#   docker run -p 1883:1883 -v swellmq-data:/var/lib/swellmq swellmq serve --bind 0.0.0.0 --data /var/lib/swellmq
#   docker run -p 8883:8883 -v ./etc:/etc/swellmq:ro -v swellmq-data:/var/lib/swellmq swellmq

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE MANIFEST.in ./
COPY src src
RUN python -m venv /opt/swellmq && /opt/swellmq/bin/pip install --no-cache-dir ".[admin,auth]" \
    && /opt/swellmq/bin/swellmq --version | grep -F "compiled by mypyc" \
    && /opt/swellmq/bin/pip uninstall -y pip setuptools

FROM python:${PYTHON}
COPY --from=build /opt/swellmq /opt/swellmq
RUN groupadd --system --gid 1883 swellmq \
    && useradd --system --uid 1883 --gid 1883 --home-dir /var/lib/swellmq --shell /usr/sbin/nologin swellmq \
    && install -d -o swellmq -g swellmq -m 0700 /var/lib/swellmq && install -d /etc/swellmq
ENV PATH=/opt/swellmq/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER swellmq
WORKDIR /var/lib/swellmq
VOLUME /var/lib/swellmq
EXPOSE 1883 8883 9001 18083
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s CMD ["swellmq", "ping"]
ENTRYPOINT ["swellmq"]
CMD ["serve", "--config", "/etc/swellmq/swellmq.toml"]
