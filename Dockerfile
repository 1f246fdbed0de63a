# The command line in a container, about 3 GB, most of it TensorFlow:
#   docker build -t shroomcurate .
#   docker run --rm -it --init --shm-size 512m -v "$PWD:/data" shroomcurate doctor
# With the database of docker-compose.yml: docker compose run --rm shroomcurate query --species 20

FROM python:3.12-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
RUN python -m venv /opt/shroomcurate
ENV PATH=/opt/shroomcurate/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# What it needs is a layer of its own, so that a change of ours does not fetch TensorFlow again. The lock also holds what
# tests need; as constraints it only says which versions.
COPY pyproject.toml requirements.lock ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > dependencies.txt \
    && python -m pip install --constraint requirements.lock --requirement dependencies.txt
COPY hatch_build.py README.md LICENSE ./
COPY sql sql
COPY src src
RUN python -m pip install --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/shroomcurate /opt/shroomcurate
# Not as root. Whoever mounts a folder of somebody else's says --user "$(id -u):$(id -g)", and so that the embedded
# PostgreSQL finds that user's name, --volume /etc/passwd:/etc/passwd:ro.
RUN useradd --create-home --uid 1000 shroomcurate \
    && install --directory --owner=shroomcurate /data
# What is kept between two containers lies in the mounted folder: the catalogue, the networks' weights, the plots' fonts.
ENV PATH=/opt/shroomcurate/bin:$PATH SHROOMCURATE_HOME=/data/home KERAS_HOME=/data/home/keras \
    MPLCONFIGDIR=/data/home/matplotlib
USER 1000
WORKDIR /data
ENTRYPOINT ["shroomcurate"]
CMD ["--help"]
