"""The error of a training that no longer gives numbers. Apart, so that whoever only catches it loads no torch."""


class NonFiniteError(RuntimeError):
    """Loss or gradient norm is infinite or not a number, or far above what it was."""
