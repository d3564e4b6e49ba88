"""The CUDA-graph calls of `cuda.bindings.driver` on the pretended GPU of `fake_pycuda`."""

import enum
from types import SimpleNamespace

from helpers.api_surface import surface


def make_bindings(machine):
    """Return a module like `cuda.bindings.driver`: each call gives a status and its result."""
    names = surface("cuda-bindings-13.5")
    enums = {name: enum.IntEnum(name, members) for name, members in names["enums"].items()}
    status = enums["CUresult"]
    streams = machine.streams

    class Graph:
        """Captured work; its destruction is logged."""

        def __init__(self, work):
            self.work = work

        def __int__(self):
            return id(self)

    def call(name, result=None):
        if machine.call(name):
            return (status.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, *([None] if result else []))
        return (status.CUDA_SUCCESS, *([result] if result else []))

    captured_from = {}

    def cuStreamBeginCapture(hStream, mode):  # noqa: N802, N803 - the real names
        assert mode == enums["CUstreamCaptureMode"].CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        answer = call("cuStreamBeginCapture")
        if answer[0] == status.CUDA_SUCCESS:
            captured_from[hStream], streams[hStream] = streams[hStream], []
        return answer

    def cuStreamEndCapture(hStream):  # noqa: N802, N803
        work, streams[hStream] = streams[hStream], captured_from.pop(hStream)
        return call("cuStreamEndCapture", Graph(work))

    def cuGraphInstantiate(hGraph, flags):  # noqa: N802, N803
        assert flags == 0
        answer = call("cuGraphInstantiate", Graph(hGraph.work))
        if answer[0] == status.CUDA_SUCCESS:
            machine.alive["graph"] += 1
        return answer

    def cuGraphLaunch(hGraphExec, hStream):  # noqa: N802, N803
        answer = call("cuGraphLaunch")
        if answer[0] == status.CUDA_SUCCESS:
            streams[hStream].extend(hGraphExec.work)
        return answer

    def cuGraphExecDestroy(hGraphExec):  # noqa: N802, N803
        machine.alive["graph"] -= 1
        hGraphExec.work = None
        return call("cuGraphExecDestroy")

    def cuGraphDestroy(hGraph):  # noqa: N802, N803
        hGraph.work = None
        return call("cuGraphDestroy")

    return SimpleNamespace(
        **enums,
        cuStreamBeginCapture=cuStreamBeginCapture,
        cuStreamEndCapture=cuStreamEndCapture,
        cuGraphInstantiate=cuGraphInstantiate,
        cuGraphLaunch=cuGraphLaunch,
        cuGraphExecDestroy=cuGraphExecDestroy,
        cuGraphDestroy=cuGraphDestroy,
    )
