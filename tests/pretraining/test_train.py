"""Pretraining in a tiny setting: it goes on where it was killed, and writes weights and their card."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fgbench.pretraining.__main__ import main
from fgbench.pretraining.train import STATE, Network, Pretraining, pretrain

TINY = Pretraining(images=24, epochs=3, batch_size=8, whole_epochs=1, warmup_steps=2)


class Killed(BaseException):
    pass


def weights_of(network: Network) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without interruption: its folder and its weights."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, weights_of(pretrain(TINY, folder))


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, whole):
    def kill(line: str) -> None:
        if line.startswith("epoch 2 of"):
            raise Killed

    with pytest.raises(Killed):
        pretrain(TINY, tmp_path, kill)
    lines: list[str] = []
    assert weights_of(pretrain(TINY, tmp_path, lines.append)) == whole[1]
    assert [line.partition(":")[0] for line in lines if " of 3: " in line] == ["epoch 3 of 3"]


def test_another_recipe_does_not_go_on_with_it(tmp_path, whole):
    (tmp_path / STATE).write_bytes((whole[0] / STATE).read_bytes())
    lines: list[str] = []
    pretrain(replace(TINY, epochs=1, seed=5), tmp_path, lines.append)
    assert any(line.startswith("epoch 1 of 1") for line in lines)


def test_it_learns(tmp_path):
    """The loss on a few pictures falls."""
    recipe = replace(TINY, epochs=12, lr=3e-3, mean_decay=0.5)
    lines: list[str] = []
    pretrain(recipe, tmp_path, lines.append)
    losses = [float(line.split("loss ")[1].partition(";")[0]) for line in lines if " of 12: " in line]
    assert losses[-1] < losses[0] - 2


def test_the_command_writes_weights_of_float16_and_their_card(tmp_path, whole, capsys):
    folder, weights = whole
    path = tmp_path / "out" / "w.safetensors"
    main([str(folder), "--weights", str(path), "--as-it-is"])
    written = load_file(path)
    backbone = {name[9:] for name in weights if name.startswith("backbone.")}
    assert written.keys() == backbone
    assert {tensor.dtype for tensor in written.values()} == {torch.float16}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert (metadata["epochs"], metadata["license"]) == ("3", "Apache-2.0")
    assert json.loads(metadata["recipe"])["images"] == 24
    card = path.with_name("README.md").read_text(encoding="utf-8")
    for heading in ("## Data", "## Recipe", "## How well", "## Limits"):
        assert heading in card
    assert "license: apache-2.0" in card
    assert "| `images` | 24 |" in card
    assert str(path) in capsys.readouterr().out


def test_without_a_state_nothing_is_written(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path), "--weights", str(tmp_path / "w.safetensors"), "--as-it-is"])
    assert error.value.code == 2
    assert "no epoch is finished" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
