# NVIDIA Triton with this toolkit in its Python, for `emonet triton --faces`:
#   docker build -t emonet-triton -f docs/deploy/triton.Dockerfile .
# Crops need no image of their own: NVIDIA's serves the repository as it is.
FROM nvcr.io/nvidia/tritonserver:26.09-py3

RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .
# NumPy below 2: Triton's Python backend reads wrong numbers from NumPy 2, without an error.
RUN pip install --no-cache-dir ".[faces]" "numpy<2" && rm -rf /src
WORKDIR /opt/tritonserver
