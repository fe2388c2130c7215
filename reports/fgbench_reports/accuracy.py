"""stub"""


def accuracy_frame(rows):
    import pandas as pd

    return pd.DataFrame(rows)


def accuracy_tables(rows):
    from rich.table import Table

    t = Table()
    for k in ("model", "seed", "top1_percent", "seconds"):
        t.add_column(k)
    for r in rows:
        t.add_row(*(str(r[k]) for k in ("model", "seed", "top1_percent", "seconds")))
    return [t]


def accuracy_notes(rows):
    return []


def class_tables(row, classes):
    return []
