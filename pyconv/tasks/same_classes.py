"""Whether training and validation number the same classes: classes are numbered by their sorted names."""

from pyconv.data.kinetics import VideoSplit
from pyconv.data.split import DataError, Split


def check_same_classes(training: Split | VideoSplit, held_out: Split | VideoSplit) -> None:
    """Raises `DataError` naming a class that only one of the splits has."""
    for split, other in ((training, held_out), (held_out, training)):
        if only := sorted(set(split.classes) - set(other.classes)):
            raise DataError(
                f"{split.root / split.name}: class {only[0]} is not in {other.name}; both splits need the "
                f"same classes, or their numbers mean different things"
            )
