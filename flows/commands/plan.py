"""A dry run: which stages would be built, which reused, and what that would cost."""

from typing import Any

from flows.config.pipeline import PipelineConfig
from tasks.running.progress import Display
from tasks.running.run import Plan, Run, use_run
from tasks.running.secret_blocks import open_store_with


def plan_pipeline(config: PipelineConfig) -> dict[str, Any]:
    """Go through the pipeline without building anything.

    Time, memory and disk are those of the newest artifact of the same stage. What follows a stage that must be built
    is counted as to be built, though it may turn out unchanged (early cut-off).
    """
    from flows.pipeline import build_all

    plan = Plan()
    run = Run(open_store_with(config.resources), config.resources.resolved(), Display(quiet=True), plan=plan)
    with use_run(run):
        build_all(config)
    building = [step for step in plan.steps if step["state"] == "build"]
    return {
        "stages": plan.steps,
        "totals": {
            "reuse": len(plan.steps) - len(building),
            "build": len(building),
            "unknown": sum("seconds" not in step for step in building),
            "seconds": sum(step.get("seconds", 0.0) for step in building),
            "memory": max((step.get("memory", 0) for step in building), default=0),
            "disk": sum(step.get("disk", 0) for step in building),
        },
    }
