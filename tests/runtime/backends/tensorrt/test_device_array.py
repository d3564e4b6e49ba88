"""Batches that lie on the GPU already, in arrays of other libraries."""

import numpy as np
import pytest
from helpers.gpu_world import assert_same, images

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.backends.tensorrt import device_array


class ByInterface:
    """What Numba and older versions of others give."""

    def __init__(self, machine, array, stream=None):
        self._array = array
        machine.memory[array.ctypes.data] = array.reshape(-1).view(np.uint8)
        self.__cuda_array_interface__ = array.__array_interface__ | {"stream": stream}


class ByDlpack:
    """What PyTorch and CuPy give: NumPy's own capsule, said to be of the first GPU."""

    def __init__(self, machine, array, device=0):
        self._array, self._device = array, device
        self.streams = []
        machine.memory[array.ctypes.data] = array.reshape(-1).view(np.uint8)

    def __dlpack_device__(self):
        return 2, self._device

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        return self._array.__dlpack__()


@pytest.fixture
def waited(monkeypatch):
    handles = []
    monkeypatch.setattr(device_array, "wait_for_stream", handles.append)
    return handles


def on_host(machine, results):
    """Read results as another library would."""
    host = {}
    for name, array in results.items():
        raw = array.__cuda_array_interface__
        kind = np.dtype(raw["typestr"])
        size = int(np.prod(raw["shape"])) * kind.itemsize
        host[name] = machine.at(raw["data"][0], size).view(kind).reshape(raw["shape"]).copy()
    return host


@pytest.mark.parametrize("kind", [ByInterface, ByDlpack])
@pytest.mark.parametrize("interface", ["tensor", "image"])
def test_a_batch_on_the_gpu_gives_what_it_gives_from_the_host(world_11, waited, kind, interface):
    path = world_11.build(interface=interface)
    with world_11.open(path) as session, load_session(world_11.folder / "m.onnx") as reference:
        for n in (1, 3, 4, 3):
            batch = images(n, interface, seed=n)
            results = session.run_on_device(kind(world_11.gpu, batch))
            assert_same(on_host(world_11.gpu, results), reference.run(batch))
        kept = on_host(world_11.gpu, results)
        session.run(images(4, interface))
        assert_same(on_host(world_11.gpu, results), kept)  # their memory is their own
        name = next(iter(results))
        wanted = session.run_on_device(kind(world_11.gpu, images(1, interface)), [name])
        assert list(wanted) == [name]
    del results, wanted
    world_11.assert_clean()


def test_what_fills_an_array_is_waited_for(world_11, waited):
    with world_11.open(world_11.build()) as session:
        session.run_on_device(ByInterface(world_11.gpu, images(1), stream=77))
        assert waited == [77]
        given = ByDlpack(world_11.gpu, images(1))
        session.run_on_device(given)
        assert (given.streams, waited) == ([1], [77, 1])


def test_an_array_says_its_strides_or_not(world_11, waited):
    batch = images(2)
    with world_11.open(world_11.build()) as session:
        plain = session.run(batch)
        given = ByInterface(world_11.gpu, batch)
        given.__cuda_array_interface__ |= {"strides": batch.strides}
        results = session.run_on_device(given)
        # A library that exports no DLPack for the device is read by the older protocol.
        given.__dlpack__ = lambda stream=None: pytest.fail("it cannot say where it lies")
        same = session.run_on_device(given)
        for found in (results, same):
            assert_same(on_host(world_11.gpu, found), plain)
            for array in found.values():
                assert array.__cuda_array_interface__["data"][1] is False  # it may be written to
    del results, same, found, array
    world_11.assert_clean()


def test_arrays_that_do_not_fit_are_told(world_11, waited):
    machine = world_11.gpu
    with world_11.open(world_11.build()) as session:
        for given, message in (
            (images(1), "must lie on the GPU"),
            ([1], "must lie on the GPU"),
            (ByDlpack(machine, images(5)), "4 images at once"),
            (ByDlpack(machine, images(1)[:, :, :8]), "must be N x 3 x 256 x 256"),
            (ByInterface(machine, images(1).astype(np.float64)), "must be float32, not float64"),
            (ByDlpack(machine, images(1).astype(np.uint8)), "must be float32, not uint8"),
            (ByDlpack(machine, images(1), device=1), "another GPU than the first"),
        ):
            with pytest.raises(InputError, match=message):
                session.run_on_device(given)
        mirrored = ByInterface(machine, images(1))
        mirrored.__cuda_array_interface__ = images(1)[..., ::2].__array_interface__
        mirrored.__cuda_array_interface__["shape"] = (1, 3, 256, 256)
        with pytest.raises(InputError, match="contiguous"):
            session.run_on_device(mirrored)
    world_11.assert_clean()
