# `emonet serve` on CPUs:   docker build -t emonet-serve -f docs/deploy/serve.Dockerfile .
# The model is mounted at /models, not copied: its weights have a licence of their own.
FROM python:3.11-slim

# What OpenCV's wheel needs of the system.
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .
RUN pip install --no-cache-dir -c constraints.txt ".[serve,faces]" && rm -rf /src

RUN useradd --create-home emonet
USER emonet
WORKDIR /home/emonet
EXPOSE 8000
# 0.0.0.0 is inside of the container; what is published is the deployment's choice.
ENTRYPOINT ["emonet", "serve", "--host", "0.0.0.0"]
CMD ["--model", "/models/emonet_8.fp32.onnx"]
