# The controller: slim, not root, nothing in it but Python and virtfn. From the top of the source tree:
#   docker build -f deploy/images/controller.Dockerfile -t virtfn-controller:0.1.0 .
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
COPY . /source
ENV PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/virtfn && PYTHON=/opt/virtfn/bin/python SOURCE=/source sh /source/deploy/images/install.sh controller

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/virtfn /opt/virtfn
ENV PATH=/opt/virtfn/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["virtfn"]
CMD ["controller"]
