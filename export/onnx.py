"""From the PyTorch reference to an ONNX file."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx
import torch

from emonet_deploy.emonet_ref.constants import INPUT_NAME, INPUT_SIZE, TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.synthetic.faces import CALIBRATION_SEED, crops, make_faces
from emonet_deploy.errors import ExportError, InputError
from emonet_deploy.export.cpu_plan import MakePlan, generic_plan
from emonet_deploy.export.graph.naming import name_nodes, strip
from emonet_deploy.export.passes.batchnorm import fold_batchnorm
from emonet_deploy.export.passes.canonical_scales import canonicalize_scales
from emonet_deploy.export.passes.cpu import rewrite_for_cpu
from emonet_deploy.export.passes.embed_processing import embed_processing
from emonet_deploy.export.passes.fp16 import EXACT, convert_fp16
from emonet_deploy.export.passes.fp16_range import observe_half_range
from emonet_deploy.export.passes.maxpool_to_slices import pool_to_max
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.quantization.calibrate import Calibration, chunks
from emonet_deploy.export.quantization.quantize import quantize_int8
from emonet_deploy.runtime.choices import (
    Interface,
    Precision,
    Target,
)
from emonet_deploy.runtime.metadata import METADATA_KEY, ModelInfo, tensors_of
from emonet_deploy.runtime.precision_specs import PRECISIONS

__all__ = ["OPSET", "Exported", "export_onnx", "save_model"]

OPSET: Final = 18

_RANGE_FACES: Final = 8


@dataclass(frozen=True)
class Exported:
    """An ONNX file and the record that is in it."""

    path: Path
    info: ModelInfo


def export_onnx(
    model: EmoNet,
    path: str | os.PathLike[str],
    checkpoint: str,
    parent_sha256: str | None = None,
    target: Target = "gpu",
    precision: Precision = "fp32",
    interface: Interface = "tensor",
    calibration: Calibration | None = None,
    plan: MakePlan = generic_plan,
) -> Exported:
    """Write an ONNX model with the contract's names, types and a dynamic batch.

    Args:
        model: the reference; left as it is.
        path: where to write; an older file there is replaced.
        checkpoint: the weights' identity: ``original``, ``standin`` or ``sha256:...``.
        parent_sha256: SHA-256 of the checkpoint file.
        target: ``gpu`` is the network as it is; ``cpu`` the same function in fewer operations.
        precision: of the convolutions; ``fp16`` is for GPUs; of ``bf16``, for CPUs, the file is
            that of ``fp32`` for GPUs, and OpenVINO computes in it where the processor can.
        interface: ``image`` puts pre- and postprocessing into the graph.
        calibration: faces and budget for ``int8``; for ``fp16``, faces on which to look at ranges.
        plan: decides how a float32 graph is rewritten for CPUs.

    Returns:
        The file, and its record as it was written.

    Raises:
        InputError: the precision does not fit the target, or lacks its calibration.
        ExportError: the export or the check of the result failed, or it cannot be written.
    """
    targets = PRECISIONS[precision].gates
    if target not in targets:
        raise InputError(
            f"{precision} is not made for --target {target}; use --target {' or '.join(targets)}"
        )
    if precision == "int8" and calibration is None:
        raise InputError("int8 needs faces to calibrate on; give export_onnx a Calibration")
    inputs, outputs = tensors_of(model.nclass, interface)
    info = ModelInfo(
        nclass=model.nclass,
        checkpoint=checkpoint,
        precision=precision,
        target=target,
        interface=interface,
        inputs=inputs,
        outputs=outputs,
        parent_sha256=parent_sha256,
        tools={"torch": torch.__version__, "onnx": onnx.__version__},
    )
    exported = to_model(model)
    if target == "cpu" and precision == "fp32":
        chosen = plan(exported)
        rewrite_for_cpu(exported, chosen.tiles)
        info = replace(info, rewrites=chosen.record())
    if precision == "fp16":
        merge_pointwise(exported, apart=True)
        faces = _range_faces(calibration)
        canonicalize_scales(exported, faces)
        found = observe_half_range(exported, faces)
        pool_to_max(exported)
        convert_fp16(exported, EXACT | found.wide)
        record = {
            "largest": float(f"{found.largest:.4g}"),
            "float_layers": sorted(EXACT | found.wide),
        }
        source = "procedural" if calibration is None else calibration.source
        info = replace(info, calibration=record | {"source": source})
    if precision == "int8" and calibration is not None:
        quantized = quantize_int8(
            exported,
            calibration.images,
            calibration.budget,
            calibration.calibrator,
            target=target,
        )
        exported = quantized.model
        info = replace(info, calibration=quantized.record() | {"source": calibration.source})
    if interface == "image":
        embed_processing(exported)
    return Exported(save_model(exported, path, info), info)


def _range_faces(calibration: Calibration | None) -> torch.Tensor:
    """Return a few faces that tell how large a network's values get: drawn ones, if no other."""
    if calibration is None:
        return chunks(crops(make_faces(_RANGE_FACES, CALIBRATION_SEED)))[0]
    return chunks(calibration.images[:_RANGE_FACES])[0]


def to_model(model: EmoNet) -> onnx.ModelProto:
    """Return the reference as an ONNX model in memory, BatchNorms folded where they can be."""
    example = torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)
    was_training = model.training
    model.eval()
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=list(TENSOR_OUTPUTS),
                dynamic_shapes=({0: torch.export.Dim("N")},),
                verbose=False,
            )
    except Exception as error:  # the exporter lets errors of many kinds through
        raise ExportError(f"PyTorch could not export the model: {error}") from error
    finally:
        model.train(was_training)
    if program is None:
        raise ExportError("PyTorch's exporter returned nothing; try the tested version of torch")
    exported: onnx.ModelProto = program.model_proto
    name_nodes(exported)
    strip(exported)
    fold_batchnorm(exported)
    return exported


def save_model(model: onnx.ModelProto, path: str | os.PathLike[str], info: ModelInfo) -> Path:
    """Check a model, embed its record and write it, all or nothing.

    Raises:
        ExportError: the model is not valid ONNX, or the file cannot be written.
    """
    path = Path(path)
    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    model.producer_name, model.producer_version = "emonet-deploy", info.toolkit
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported model is not valid ONNX: {error}") from error
    with atomic_write(path, ExportError) as temporary:
        onnx.save(model, temporary)
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes on packages it does not need off the user's screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
