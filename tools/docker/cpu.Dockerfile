# sepcon on processors, with the newest TensorFlow. Not built here: there was no registry of images.
# The versions are those of tools/resolved.json, which were tried without Docker.
#
#   docker build -f tools/docker/cpu.Dockerfile -t sepcon .
#   docker run --rm -v "$PWD:/work" sepcon separate song.wav
FROM python:3.13-slim
COPY . /src
RUN pip install --no-cache-dir '/src[report,images,parquet]' && rm -r /src
WORKDIR /work
ENTRYPOINT ["sepcon"]
