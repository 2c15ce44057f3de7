"""Which checkpoints of a run are averaged; importable without torch, so that a configuration can ask."""


def averaged_steps(steps: int, count: int, interval: int) -> list[int]:
    """The steps of the last `count` checkpoints of a run of `steps`, ascending: the last multiples of `interval`, and
    the end (Vaswani et al. 2017, section 6.1).

    Raises:
        ValueError: the run is too short to have so many.
    """
    multiples = [n for n in range(interval, steps, interval)][-(count - 1) :] if count > 1 else []
    wanted = [*multiples, steps]
    if len(wanted) < count:
        raise ValueError(
            f"{steps} steps with a checkpoint every {interval} do not leave {count} to average: average fewer (1: "
            "none) or at a shorter interval"
        )
    return wanted
