# mushrooms.py
from pathlib import Path

from fgbench.accuracy.datasets.dataset import DataSet, FileSplit
from fgbench.accuracy.datasets.files import renumber, rows
from fgbench.accuracy.datasets.reader import reads


@reads(folder="mushrooms", holds="mushrooms/ with images/, train.txt and test.txt", needs=("train.txt", "test.txt"))
def mushrooms(root: Path, *, wild: bool = False) -> DataSet:
    """Mushrooms by species."""
    train, test = (list(rows(root / f"{split}.txt", str, int)) for split in ("train", "test"))
    classes = renumber([class_id for _, class_id in train], [class_id for _, class_id in test], names={})
    return DataSet(
        name="mushrooms",
        class_names=classes.class_names,
        train=FileSplit(root, [path for path, _ in train], classes.train),
        test=FileSplit(root, [path for path, _ in test], classes.test),
        notes=classes.notes,
    )
