"""What this machine can do, by a short probe: device, precision, compilation, threads, ceiling, energy."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shutil
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from zhixing.cores import usable_cores
from zhixing.errors import ConfigError
from zhixing.language import tr
from zhixing.training.settings import TrainingSettings

_log = logging.getLogger(__name__)
_MINUTES_THAT_REPAY_COMPILATION = 20.0


@dataclass(frozen=True)
class Machine:
    """The effective choices of a run. They decide its bits, so a resumed run must find the same.

    Attributes:
        device: torch device.
        precision: of matrix products.
        compiled: whether the model is compiled.
        threads: CPU threads.
        matmul_rate: floating-point operations per second of a large matrix product in that precision.
    """

    device: str
    precision: Literal["float32", "bfloat16"]
    compiled: bool
    threads: int
    matmul_rate: float

    def autocast(self) -> Any:
        """Return the context in which losses are computed."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16)

    def contract(self) -> dict[str, Any]:
        """Return what must be equal for a resumed run to be the same run, bit for bit."""
        values = {name: value for name, value in asdict(self).items() if name != "matmul_rate"}
        return {**values, "torch": torch.__version__, "processor": platform.machine()}

    def describe(self) -> str:
        """Return the choices in a line."""
        compiled = tr("compiled", "已编译") if self.compiled else tr("not compiled", "未编译")
        return (
            f"{self.device}, {self.precision}, {compiled}, {self.threads} {tr('threads', '线程')}, "
            f"{self.matmul_rate / 1e9:.0f} GFLOP/s"
        )


def probe(settings: TrainingSettings) -> Machine:
    """Choose what the settings leave open, by measuring.

    Raises:
        ConfigError: the device that was asked for is not there.
    """
    device = _device(settings.device)
    threads = settings.threads or available_cores()
    torch.set_num_threads(threads)
    if device == "cpu":
        keep_freed_memory()
    precision, rate = _precision(settings.precision, device)
    return Machine(device, precision, _compiles(settings, device), threads, rate)


def available_cores() -> int:
    """Return the cores this process may use: what ``OMP_NUM_THREADS`` says, else what the system grants."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return usable_cores()


def matmul_rate(device: str, dtype: torch.dtype, size: int = 768, seconds: float = 0.15) -> float:
    """Return the best rate seen of ``size`` x ``size`` products, in floating-point operations per second."""
    a = torch.randn(size, size, device=device).to(dtype)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        product = a @ a
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    del product
    return best


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next step instead of returning it to the system.

    A training step frees and asks again for the same large blocks; handing them back makes the kernel clear
    every page anew, a fifth of a step on small machines. Elsewhere than on glibc nothing happens. Returns
    whether it worked.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mmap_threshold, trim_threshold, largest = -3, -1, 32 * 2**20
    return bool(mallopt(mmap_threshold, largest)) and bool(mallopt(trim_threshold, 2**31 - 1))


class EnergyMeter:
    """Joules used so far: the processor's counter where it may be read, else cores times watts times time."""

    def __init__(self, cores: int, watts_per_core: float) -> None:
        self._watts = cores * watts_per_core
        self._counter = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
        self._start_time, self._start = time.monotonic(), self._read()

    @property
    def measured(self) -> bool:
        """Whether the figure is a measurement, not an estimate."""
        return self._start is not None

    def joules(self) -> float:
        """Return the energy since the meter was made."""
        now = self._read()
        if now is not None and self._start is not None and now >= self._start:
            return (now - self._start) / 1e6
        return self._watts * (time.monotonic() - self._start_time)

    def _read(self) -> int | None:
        try:
            return int(self._counter.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def resident_bytes() -> int:
    """Return the memory this process holds, 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _device(wanted: str) -> str:
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            tr(
                f"training.device = '{wanted}' cannot be used here ({str(error).splitlines()[0]}); try auto",
                f"此处无法使用 training.device = '{wanted}'（{str(error).splitlines()[0]}）；可改用 auto",
            )
        ) from None
    return wanted


def _precision(
    wanted: Literal["auto", "float32", "bfloat16"], device: str
) -> tuple[Literal["float32", "bfloat16"], float]:
    single = matmul_rate(device, torch.float32)
    if wanted == "float32" or (wanted == "auto" and device == "mps"):
        return "float32", single
    # A processor without bfloat16 units is so slow at it that one small product tells.
    half = matmul_rate(device, torch.bfloat16, size=256 if device == "cpu" else 768, seconds=0.05)
    if wanted == "bfloat16":
        if half < single:
            _log.warning(
                tr(
                    f"bfloat16 is {single / half:.0f} times slower than float32 on this machine; "
                    "training.precision=auto would choose float32",
                    f"本机上 bfloat16 比 float32 慢 {single / half:.0f} 倍；training.precision=auto 会选择 float32",
                )
            )
        return "bfloat16", half
    return ("bfloat16", half) if half > 1.5 * single else ("float32", single)


def _compiles(settings: TrainingSettings, device: str) -> bool:
    if settings.compile != "auto":
        return settings.compile == "yes"
    if device == "cuda":
        return True
    long_enough = settings.minutes is not None and settings.minutes >= _MINUTES_THAT_REPAY_COMPILATION
    return device == "cpu" and long_enough and shutil.which("g++") is not None
