# sepcon on NVIDIA GPUs. Not built here: there was no registry of images.
# CUDA and cuDNN come from PyPI with TensorFlow; the host needs the driver and NVIDIA's container toolkit.
#
#   docker build -f tools/docker/gpu.Dockerfile -t sepcon-gpu .
#   docker run --rm --gpus all -v "$PWD:/work" sepcon-gpu doctor --quick --run_dir=doctor
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir '/src[report,images,parquet]' 'tensorflow[and-cuda]>=2.21,<2.22' && rm -r /src
WORKDIR /work
ENTRYPOINT ["sepcon"]
