import os

import pytest

from emonet_deploy.runtime.hardware import cpu
from emonet_deploy.runtime.hardware.cpu import (
    convolution_instructions,
    processor,
    usable_processors,
)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of eight processors whose control groups are those given, by path."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def make(cgroup, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroup)
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


V1 = "4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n", "a/cpu.max": "200000 100000\n"}, 1),
        ("0::/../x\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/host/path\n", {"cpu.max": "400000 100000\n"}, 4),
        (
            V1,
            {
                "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "20000\n", "cpu/cpu.cfs_period_us": "10000\n"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        (V1, {"cpu/cpu.cfs_quota_us": "20000\n"}, 8),
        ("4:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "3\n", "cpu/a/cpu.cfs_period_us": "1\n"}, 3),
        # Where memory is shared out does not matter.
        (
            "3:memory:/m\n4:cpu:/c\n",
            {
                "cpu/m/cpu.cfs_quota_us": "1\n",
                "cpu/m/cpu.cfs_period_us": "1\n",
                "cpu/c/cpu.cfs_quota_us": "5\n",
                "cpu/c/cpu.cfs_period_us": "1\n",
            },
            5,
        ),
        ("nonsense\n", {"cpu.max": "nonsense"}, 8),
        ("0::/\n", {"cpu.max": "0 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "100000 0\n"}, 8),
        ("0::/\n", {"cpu.max": "0 0\n"}, 8),
        ("0::/\n", {}, 8),
    ],
)
def test_a_limit_of_time_counts_as_so_many_processors(machine, cgroup, files, count):
    assert usable_processors(machine(cgroup, files)) == count


def test_without_control_groups_it_is_what_the_process_may_run_on(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 6}, raising=False)
    assert usable_processors(tmp_path) == 3
    assert 1 <= usable_processors() <= 3


def test_it_is_this_process_that_is_asked_about(tmp_path, monkeypatch):
    cores = {0: {1, 2, 3}}  # 0 is the process itself
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores.get(pid, {1}), raising=False)
    assert usable_processors(tmp_path) == 3


@pytest.mark.parametrize(("told", "count"), [(6, 6), (None, 1)])
def test_a_system_that_binds_no_process_lets_it_run_on_all(tmp_path, monkeypatch, told, count):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    assert usable_processors(tmp_path) == count


@pytest.mark.parametrize(
    ("cpuinfo", "name", "fast"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD EPYC: 9004\nflags\t\t: fpu avx2 fma avx512_vnni\n",
            "AMD EPYC: 9004",
            {"avx2", "fma", "avx512_vnni"},
        ),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", "aarch64", {"asimd", "asimddp"}),
        (None, "aarch64", set()),
    ],
)
def test_a_processor_is_told_as_linux_tells_it(tmp_path, monkeypatch, cpuinfo, name, fast):
    monkeypatch.setattr(cpu, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("platform.processor", lambda: "")
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    found, flags = processor()
    assert found == name
    assert convolution_instructions(flags) == fast
