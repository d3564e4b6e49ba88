"""What nvidia-smi says, on a script that says it."""

import pytest

from emonet_deploy.runtime.hardware.nvidia_smi import (
    GPU_FIELDS,
    describe_gpu,
    highest_sm_clock,
    sm_clock,
)

ANSWERS = {"name": "NVIDIA L4", "clocks.sm": "2040 MHz", "power.limit": "72.00 W"}
SCRIPT = """#!/bin/sh
fields=$(echo "$1" | sed 's/--query-gpu=//; s/,/ /g')
[ "$3" = "--id=%s" ] || exit 1
answer=
for field in $fields; do
  case $field in
    name) value="NVIDIA L4" ;; clocks.sm) value="2040 MHz" ;;
    power.limit) value="72.00 W" ;; *) value="[N/A]" ;;
  esac
  answer="$answer, $value"
done
echo "$answer" | cut -c 3-
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    def write(text):
        (tmp_path / "nvidia-smi").write_text(text)
        (tmp_path / "nvidia-smi").chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return write


def test_each_field_is_told_as_the_tool_words_it(tool):
    tool(SCRIPT % "0")
    found = describe_gpu()
    assert set(found) == set(GPU_FIELDS)
    assert ANSWERS.items() <= found.items()
    assert sm_clock() == 2040
    assert highest_sm_clock() is None  # [N/A]


def test_the_first_visible_gpu_is_asked(tool, monkeypatch):
    tool(SCRIPT % "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert sm_clock() == 2040


@pytest.mark.parametrize(
    "text",
    ["#!/bin/sh\nexit 9\n", SCRIPT % "0" + "exit 9\n", "#!/bin/sh\necho broken\n", "no program"],
)
def test_a_tool_that_fails_tells_nothing(tool, text):
    tool(text)
    assert describe_gpu() is None
    assert sm_clock() is None
