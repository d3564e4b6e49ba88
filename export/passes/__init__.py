"""Graph passes, one a file: ``def a_pass(model: onnx.ModelProto) -> None``, in place.

A pass rewrites EmoNet's graph where it is; what it needs to know besides has a default. One that
fails leaves the model half rewritten: the caller drops it. ``graph`` is below, ``quantization`` and
``tensorrt`` are above.
"""
