"""One task-blind loop, and what it needs: optimizers, schedules, precision, checkpoints, metrics, reports."""
