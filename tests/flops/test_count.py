"""The result of a count: values, tables, a line of text, and the work by module."""

from __future__ import annotations

import copy
import json
import pickle

import pandas as pd
import pytest
import torch
from torch import nn

from fgbench import count_flops, create_model
from fgbench.errors import FgbenchError
from fgbench.flops.cost import Cost
from fgbench.flops.count_models import count_model
from fgbench.flops.counter import FlopCounter


class Shared(nn.Module):
    """One linear layer inside of two parents, one of which is called twice."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(4, 4)
        self.one = nn.Sequential(shared, nn.ReLU())
        self.other = nn.Sequential(shared, nn.Linear(4, 4))

    def forward(self, x):
        return self.other(self.one(x)) + self.other(x)


class Borrower(nn.Module):
    """It calls a module that somebody else holds, and one that nobody does."""

    def __init__(self, lent) -> None:
        super().__init__()
        self.lent = [lent, nn.ReLU()]

    def forward(self, x):
        return self.lent[1](self.lent[0](x))


class Borrowing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 4)
        self.head = Borrower(self.embed)

    def forward(self, x):
        return self.head(self.embed(x))


class Recursive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x, depth=2):
        x = self.linear(x)
        return self(x, depth - 1) if depth else x


class Failing(nn.Module):
    """A part fails halfway, and the whole goes on without it."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.last = nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 5)), nn.Linear(4, 4)

    def forward(self, x):
        try:
            return self.part(x)
        except RuntimeError:
            return self.last(x)


class Passing(nn.Module):
    """It calls what others hold: a part of a part, and modules of a list, one of which runs as a part's, too."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.lists = nn.ModuleList([nn.ModuleDict({"inner": self.head[0]}), self.head])

    def forward(self, x):
        return self.lists[1](self.lists[0]["inner"](self.head(self.head[1](x))))


X = torch.randn(5, 4)
LINEAR = 5 * 4 * 4


def macs(module, x=X):
    return {path: cost.macs for path, cost in count_flops(module, x).by_module.items()}


def assert_parts_within_the_whole(count):
    """No module has more than the one around it, nor have all of its parts together."""
    for path, cost in count.by_module.items():
        depth = path.count(".") + 1
        parts = [c for p, c in count.by_module.items() if p.startswith(f"{path}.") and p.count(".") == depth]
        assert sum(part.flops for part in parts) <= cost.flops, path
    assert sum(c.flops for p, c in count.by_module.items() if "." not in p) <= count.flops


def test_a_shared_module_stands_under_each_parent_with_the_work_it_does_for_it():
    assert macs(Shared()) == {
        "Shared": 5 * LINEAR,
        "Shared.one": LINEAR,
        "Shared.one.0": LINEAR,
        "Shared.one.1": 0,
        "Shared.other": 4 * LINEAR,
        "Shared.other.0": 2 * LINEAR,
        "Shared.other.1": 2 * LINEAR,
    }


def test_a_borrowed_module_stands_under_the_one_that_calls_it():
    found = macs(Borrowing())
    assert found["Borrowing"] == 2 * LINEAR
    assert found["Borrowing.embed"] == found["Borrowing.head"] == found["Borrowing.head.embed"] == LINEAR
    assert found["Borrowing.head.ReLU"] == 0


def test_a_module_that_is_reached_through_others_counts_for_them():
    found = macs(Passing())
    assert found["Passing"] == 3 * LINEAR
    assert found["Passing.head"] == found["Passing.head.0"] == 2 * LINEAR  # called by itself, and as one of a list
    assert found["Passing.lists"] == found["Passing.lists.0"] == found["Passing.lists.0.inner"] == LINEAR
    flops = count_flops(Passing(), X).by_module
    assert flops["Passing.head.1"].flops == 3 * X.numel()  # once by itself
    assert list(count_flops(Passing(), X).table(depth=1).index) == ["total", "Passing", "Passing.head", "Passing.lists"]


def test_a_module_that_calls_itself_is_counted_once():
    assert macs(Recursive()) == {"Recursive": 3 * LINEAR, "Recursive.linear": 3 * LINEAR}


def test_a_module_that_failed_does_not_take_the_work_of_others():
    found = macs(Failing())
    assert (found["Failing"], found["Failing.part"], found["Failing.last"]) == (2 * LINEAR, LINEAR, LINEAR)


def test_outermost_modules_of_one_class_are_told_apart():
    one, other = nn.Linear(4, 4), nn.Linear(4, 2)
    count = count_flops(lambda: (one(X), other(X), one(X)))
    assert {path: cost.macs for path, cost in count.by_module.items()} == {"Linear": 2 * LINEAR, "Linear#2": 5 * 8}


@pytest.mark.parametrize("module", [Shared(), Recursive(), Failing(), Borrowing(), Passing()])
def test_parts_never_exceed_the_whole(module):
    assert_parts_within_the_whole(count_flops(module, X))


@pytest.mark.parametrize("name", ["glsim", "transfg"])
def test_parts_of_fgbench_s_models_never_exceed_the_whole(name):
    model = create_model(name, "test_vit", img_size=160, num_classes=3)
    count = count_flops(model, torch.empty(1, 3, 160, 160))
    assert_parts_within_the_whole(count)
    assert count.by_module[type(model).__name__] == count.total
    # From outside as from inside: its stages.
    assert (
        count.by_label
        == count_model(create_model(name, "test_vit", img_size=160, num_classes=3).to("meta"), 160).by_label
    )


def test_labels_of_somebody_else_s_model_are_classes_and_share_out_the_total():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    count = count_flops(model, X)
    assert count.by_label["Linear"].macs == 2 * LINEAR
    assert set(count.by_label) == {"Linear", "LayerNorm", "ReLU"}
    assert sum(count.by_label.values(), Cost()) == count.total
    assert count_flops(lambda: X @ X.T).by_label == {"outside of modules": Cost(macs=5 * 4 * 5)}


def test_labels_of_one_s_own_come_first():
    linear = nn.Linear(4, 4)
    with torch.no_grad(), FlopCounter(modules=True) as counter:
        counter.under("mine", lambda: linear(X))
    assert counter.result().by_label == {"mine": Cost(macs=LINEAR)}


def test_values_are_attributes_and_can_be_asked_for_in_a_convention():
    count = count_flops(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), X)
    full, fvcore = 2 * LINEAR + 5 * 20, LINEAR + 5 * 20
    assert count.flops == count.flops() == count.flops("full") == full
    assert count.flops("fvcore") == count.total.flops("fvcore") == fvcore
    assert isinstance(count.flops, int)
    assert type(count.flops()) is type(count.flops("fvcore")) is int
    assert json.dumps(count.flops) == f"{count.flops}" == f"{full}"
    for copied in (copy.deepcopy(count), pickle.loads(pickle.dumps(count))):
        assert copied == count
        assert copied.flops("fvcore") == fvcore


def test_the_repr_is_one_line():
    count = count_flops(Shared(), X)
    assert repr(count) == (
        f"Count(macs=400, flops=840, bytes={count.bytes:,}, activation_bytes={count.activation_bytes:,}; "
        "3 operators, 7 modules)"
    )


def test_the_table_has_a_row_per_module():
    count = count_flops(Shared(), X)
    table = count.table()
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == ["macs", "flops", "percent"]
    assert list(table.index) == ["total", *count.by_module]
    assert table.loc["Shared.other"].tolist() == [320, 640, pytest.approx(100 * 640 / 840)]
    assert list(count.table(depth=1).index) == ["total", "Shared", "Shared.one", "Shared.other"]
    assert set(count.table("operator").index) == {"total", *count.by_operator}
    assert list(count.table("label").index) == ["total", *count.by_label]
    assert count_flops(lambda: None).table()["percent"].isna().all()
    with pytest.raises(FgbenchError, match="'layer'"):
        count.table("layer")


def test_a_notebook_shows_the_table_and_escapes_names():
    evil = type("<b>", (Shared,), {})
    html = count_flops(evil(), X)._repr_html_()
    assert "&lt;b&gt;.one" in html
    assert "<b>" not in html
    assert "840" in html
    assert "aten::mm" in count_flops(lambda: X @ X.T)._repr_html_()


def test_a_notebook_is_told_of_rows_that_it_does_not_show():
    deep = nn.Sequential(nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 4)))))
    assert "2 further rows" in count_flops(deep, X)._repr_html_()


def test_a_part_that_is_called_total_does_not_stand_for_the_total():
    named_so = type("total", (Borrowing,), {"forward": lambda self, x: self.embed(x) + 1})
    count = count_flops(named_so(), torch.ones(2, 4))
    for by in ("module", "label"):
        table = count.table(by)
        assert table.iloc[0].to_dict() == {"macs": 32, "flops": 72, "percent": 100}
    assert table.index.tolist().count("total") == 2
    assert table["flops"].tolist() == [72, 64, 8] or table["flops"].tolist() == [72, 8, 64]
