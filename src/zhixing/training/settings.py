"""How long and how a model is trained; every budget that is given applies, the first one spent ends it."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.language import tr
from zhixing.training.optimizers import OptimizerSettings
from zhixing.training.schedules import ScheduleSettings


class TrainingSettings(Settings):
    """Budget, batches, optimizer, schedule, checkpoints."""

    minutes: float | None = setting(None, "wall-clock budget of training", "训练的时间预算", unit="minutes", gt=0)
    steps: int | None = setting(None, "budget of optimizer steps", "优化步数预算", unit="steps", ge=1)
    tokens: int | None = setting(None, "budget of training tokens", "训练词元预算", unit="tokens", ge=1)
    epochs: float | None = setting(None, "budget of passes over the text", "遍历文本的次数预算", unit="passes", gt=0)
    batch_windows: int = setting(8, "windows in one micro-batch", "每个微批的窗口数", unit="windows", ge=1)
    accumulation: int = setting(1, "micro-batches in one step", "每步累积的微批数", unit="micro-batches", ge=1)
    clip_norm: float = setting(
        1.0, "largest global gradient norm; 0: no clipping", "全局梯度范数上限；0 表示不裁剪", ge=0
    )
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    validate_every: int = setting(
        0,
        "steps between validations; 0: only at the end",
        "验证间隔步数；0 表示仅在结束时",
        unit="steps",
        ge=0,
    )
    validation_windows: int = setting(
        64, "windows of held-out text in one validation", "每次验证使用的留出窗口数", unit="windows", ge=1
    )
    patience: int = setting(
        0,
        "validations without improvement before stopping early; 0: never",
        "连续多少次验证无改善则提前停止；0 表示不提前停止",
        ge=0,
    )
    log_every: int = setting(10, "steps between lines of the metrics log", "指标日志间隔步数", unit="steps", ge=1)
    checkpoint_minutes: float = setting(2.0, "time between checkpoints", "检查点间隔时间", unit="minutes", gt=0)
    checkpoint_steps: int = setting(
        0,
        "steps between checkpoints, besides; 0: by time only",
        "另按步数保存检查点；0 表示仅按时间",
        unit="steps",
        ge=0,
    )
    keep_checkpoints: int = setting(2, "checkpoints kept", "保留的检查点数", ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "of matrix products; auto: the fastest that a probe finds",
        "矩阵乘法精度；auto：由探测选最快者",
    )
    compile: Literal["auto", "yes", "no"] = setting(
        "auto",
        "torch.compile; auto: when the run is long enough to repay it",
        "torch.compile；auto：训练足够长时启用",
    )
    device: str = setting("auto", "cpu, cuda, mps; auto: the best there is", "cpu、cuda、mps；auto：选最好的")
    threads: int = setting(0, "CPU threads; 0: one per core", "CPU 线程数；0 表示每核一个", ge=0)
    tensorboard: bool = setting(False, "also write TensorBoard event files", "同时写 TensorBoard 事件文件")
    watts_per_core: float = setting(
        10.0,
        "for the energy estimate where the machine has no meter",
        "无电表时估算能耗用的每核功率",
        unit="watts",
        gt=0,
    )

    @model_validator(mode="after")
    def _some_budget(self) -> TrainingSettings:
        if all(budget is None for budget in (self.minutes, self.steps, self.tokens, self.epochs)):
            raise ValueError(
                tr(
                    "give at least one budget: minutes, steps, tokens or epochs",
                    "请至少给出一种预算：minutes、steps、tokens 或 epochs",
                )
            )
        if self.patience and not self.validate_every:
            raise ValueError(tr("patience needs validate_every", "patience 需要同时设置 validate_every"))
        return self
