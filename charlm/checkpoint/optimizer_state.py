"""The state that the AdamW optimizer keeps of each weight, and its names in a checkpoint.

    optimizer.NAME.exp_avg        running mean of the weight's gradient
    optimizer.NAME.exp_avg_sq     running mean of its square
    optimizer.NAME.step           steps taken, one number

(Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019; the names are torch's.) Before the first step it is
empty.
"""

from collections.abc import Mapping

from charlm.checkpoint.sealed_file import Layout

_AS_LARGE_AS_THE_WEIGHT = ("exp_avg", "exp_avg_sq")
_ONE_NUMBER = ("step",)


def prefix_of(weight: str) -> str:
    """Return the prefix of the names of a weight's optimizer state."""
    return f"optimizer.{weight}."


def optimizer_layout(shapes: Mapping[str, tuple[int, ...]]) -> Layout:
    """Return the layout of the optimizer's state for weights with these names and shapes."""
    layout: Layout = {}
    for weight, shape in shapes.items():
        layout |= {prefix_of(weight) + part: ("F32", shape) for part in _AS_LARGE_AS_THE_WEIGHT}
        layout |= {prefix_of(weight) + part: ("F32", ()) for part in _ONE_NUMBER}
    return layout
