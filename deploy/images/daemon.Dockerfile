# The daemon, with the vendor plugins that are named when it is built. From the top of the source tree:
#   docker build -f deploy/images/daemon.Dockerfile --build-arg PLUGINS="intel mellanox" -t virtfn-daemon:0.1.0 .
# It is root, as the host's files are root's; what it may do is said, and explained, in its DaemonSet. Programs of the
# host (modprobe, systemd-run) are the host's own, so that they fit its kernel: none is in the image.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ARG PLUGINS="intel mellanox"
COPY . /source
ENV PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/virtfn && PYTHON=/opt/virtfn/bin/python SOURCE=/source sh /source/deploy/images/install.sh daemon $PLUGINS

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/virtfn /opt/virtfn
ENV PATH=/opt/virtfn/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["virtfn"]
CMD ["daemon"]
