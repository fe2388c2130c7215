"""hfds/, tfds/ and wds/: fgbench reads the same as the packages' own readers; one line without a package."""

from __future__ import annotations

import importlib.util
import io
import json
import pickle
import sys
import tarfile
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from helpers.dataset_layouts import LAYOUTS, SIZE, TEST, TRAIN, draw, jpeg, shards, write

from fgbench.datasets.build import open_dataset
from fgbench.datasets.check import check_dataset
from fgbench.datasets.dataset import DataSet, DatasetError
from fgbench.datasets.tfds import hold
from fgbench.datasets.timm_readers import number_labels
from fgbench.errors import FgbenchError


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """The hub's package, if it is installed, away from the hub and from its cache in the home folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    package = pytest.importorskip("datasets")
    monkeypatch.setattr(package.config, "HF_HUB_OFFLINE", True)
    package.disable_progress_bars()


def opened(name: str, *place, **options: str) -> DataSet:
    dataset = open_dataset(name, *place, options)
    for split in (dataset.train, dataset.test):
        for index in range(len(split)):
            assert (split.open(index).mode, split.open(index).size) == ("RGB", SIZE)
        assert pickle.loads(pickle.dumps(split)).open(0).tobytes() == split.open(0).tobytes()
    check_dataset(dataset)
    return dataset


def message(name: str, *place, **options: str) -> str:
    with pytest.raises(FgbenchError) as raised:
        open_dataset(name, *place, options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


class TestHfds:
    def test_a_folder_that_the_package_reads_is_a_data_set(self, offline, tmp_path):
        LAYOUTS["folder"](tmp_path / "images")
        dataset = opened(f"hfds/{tmp_path / 'images'}", tmp_path / "cache")
        assert (list(dataset.class_names), sorted(dataset.train.targets)) == (["ant", "bee", "cat"], TRAIN)
        assert sorted(dataset.test.targets) == TEST
        assert dataset.train.name(0) == "train[0]"
        assert dataset.train.missing() == []

    def test_images_that_the_package_does_not_read_are_counted(self, offline, tmp_path):
        LAYOUTS["folder"](tmp_path / "images")
        assert opened(f"hfds/{tmp_path / 'images'}", tmp_path / "cache").left_out == ()
        for file in ("train/ant/7.qoi", "train/ant/.hidden.jpg", "validation/ant/8.jpg"):
            draw(tmp_path / "images" / file)
        dataset = opened(f"hfds/{tmp_path / 'images'}", tmp_path / "other")
        said = (
            "left out: 2 images that the package 'datasets' has in neither split: train/ant/7.qoi, validation/ant/8.jpg"
        )
        assert dataset.left_out == (said,)

    def test_the_test_split_may_have_another_name(self, offline, tmp_path):
        LAYOUTS["folder"](tmp_path / "images")
        (tmp_path / "images/test").rename(tmp_path / "images/validation")
        dataset = opened(f"hfds/{tmp_path / 'images'}", tmp_path / "cache")
        assert dataset.test.name(0) == "validation[0]"
        named = opened(f"hfds/{tmp_path / 'images'}", tmp_path / "cache", test_split="train")
        assert len(named.test) == len(TRAIN)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"test_split": "none"}, "Unknown split"),
            ({"target_key": "species"}, "no column in hfds/"),
            ({"input_key": "picture"}, "no column in hfds/"),
            ({"streaming": "yes"}, "has no option 'streaming'"),
        ],
    )
    def test_what_does_not_fit_is_one_line(self, options, said, offline, tmp_path):
        LAYOUTS["folder"](tmp_path / "images")
        assert said in message(f"hfds/{tmp_path / 'images'}", tmp_path / "cache", **options)

    def test_a_name_that_cannot_be_had_is_one_line(self, offline, tmp_path):
        assert message("hfds/no-such/data", tmp_path).startswith("cannot open hfds/no-such/data: ")


@pytest.mark.parametrize("kind", ["hfds", "tfds"])
def test_a_package_that_is_not_installed_is_named(kind, tmp_path, monkeypatch, capsys):
    there = importlib.util.find_spec
    lacks = ("datasets", "tensorflow_datasets")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in lacks else there(name, *a))
    said = message(f"{kind}/food101", tmp_path)
    assert f"{kind}/… needs a package that is not installed: " in said
    assert "pip install " in said
    assert capsys.readouterr().out == ""


def test_labels_may_be_words():
    made = number_labels("x", ["b", "a"], ["c"], {})
    assert (made.train, made.test, made.class_names) == ([1, 0], [2], ["a", "b", "c"])


@pytest.mark.parametrize(("label", "said"), [(-1, "has the class id -1"), (0.5, "a label of x is no class: 0.5")])
def test_labels_that_are_no_classes_are_an_error(label, said):
    with pytest.raises(DatasetError, match=said):
        number_labels("x", [0, label], [0], {})


class TestWds:
    def test_shards_are_read_in_any_order(self, tmp_path):
        shards(tmp_path)
        dataset = opened("wds/", tmp_path)
        assert ([*dataset.train.targets], [*dataset.test.targets]) == (TRAIN, TEST)
        assert dataset.train.name(3) == "train-0001.tar/train/0003"
        first, last = dataset.train.open(0), dataset.train.open(5)
        assert first.tobytes() != last.tobytes()

    def test_they_may_lie_in_the_folder_of_the_name_and_have_other_names(self, tmp_path):
        (tmp_path / "mine").mkdir()
        shards(tmp_path / "mine", {"part-a": TRAIN, "part-b": TEST})
        dataset = opened("wds/mine", tmp_path, train_split="part-a*.tar", test_split="part-b")
        assert ([*dataset.train.targets], [*dataset.test.targets]) == (TRAIN, TEST)

    def test_the_class_may_stand_in_the_json(self, tmp_path):
        shards(tmp_path)
        assert [*opened("wds/", tmp_path, target_key="species").train.targets] == TRAIN
        assert "genus" in message("wds/", tmp_path, target_key="genus")

    def test_timms_info_file_says_which_shards(self, tmp_path):
        shards(tmp_path, {"a": TRAIN, "b": TEST, "train": [7]})
        info = {
            s: {"filenames": sorted(p.name for p in tmp_path.glob(f"{f}-*"))}
            for s, f in (("train", "a"), ("test", "b"))
        }
        write(tmp_path / "_info.json", [json.dumps({"splits": info})])
        assert [*opened("wds/", tmp_path).train.targets] == TRAIN

    def test_images_of_any_format_are_read_and_the_rest_is_counted(self, tmp_path):
        shards(tmp_path)
        with tarfile.open(tmp_path / "train-9.tar", "w") as tar:
            for name in ("1.JFIF", "1.cls", "2.cls", "__MACOSX/3.jpg", "._1.jpg", "README"):
                content = b"2" if name.endswith("cls") else jpeg(9)
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            link = tarfile.TarInfo("4.jpg")
            link.type, link.linkname = tarfile.LNKTYPE, "1.JFIF"
            tar.addfile(link)
        shards(tmp_path, {"val": [0]})
        (tmp_path / "train-10.tar.gz").touch()
        dataset = opened("wds/", tmp_path)
        assert [*dataset.train.targets] == [*TRAIN, 2]
        assert dataset.left_out == (
            "left out: 1 sample without an image: train-9.tar/2",
            "left out: 4 members that belong to no sample: __MACOSX/3.jpg, ._1.jpg, README and 1 more",
            "left out: 2 other or compressed shards: train-10.tar.gz, val-0000.tar",
        )

    def test_a_sample_with_two_images_of_one_name_is_an_error(self, tmp_path):
        shards(tmp_path)
        with tarfile.open(tmp_path / "train-9.tar", "w") as tar:
            for name in ("1.jpg", "1.jpg", "1.cls"):
                tar.addfile(tarfile.TarInfo(name))
        assert "sample 1 has two members .jpg" in message("wds/", tmp_path)

    @pytest.mark.parametrize(
        "info", ["[]", "{", '{"splits": {"train": {}}}', '{"splits": {"train": {"filenames": ["../x"]}}}']
    )
    def test_an_info_file_that_is_none_is_one_line(self, info, tmp_path):
        shards(tmp_path)
        write(tmp_path / "_info.json", [info])
        assert "not an info file of shards" in message("wds/", tmp_path)

    def test_no_folder_no_shards_and_no_class_are_one_line_each(self, tmp_path):
        assert "no folder of shards" in message("wds/", None)
        assert "no folder of shards" in message("wds/", tmp_path / "nowhere")
        assert "no shards of 'train' in" in message("wds/", tmp_path)
        shards(tmp_path, {"train": TRAIN})
        assert "no shards of 'test' in" in message("wds/", tmp_path)
        assert "found: train-0000.tar" in message("wds/", tmp_path)
        with tarfile.open(tmp_path / "test-0.tar", "w") as tar:
            member = tarfile.TarInfo("1.jpg")
            member.size = len(jpeg())
            tar.addfile(member, io.BytesIO(jpeg()))
        assert "a sample of jpg has no cls" in message("wds/", tmp_path)

    @pytest.mark.parametrize("pattern", ["/etc/*.tar", "../*.tar", "a**b.tar", "train-0.tar.gz"])
    def test_a_pattern_that_finds_nothing_is_shown(self, pattern, tmp_path):
        shards(tmp_path)
        (tmp_path / "inner").mkdir()
        shards(tmp_path / "inner", {"test": TEST})
        assert f"no shards of '{pattern}' in" in message("wds/inner", tmp_path, train_split=pattern)

    def test_what_is_no_tar_file_is_named(self, tmp_path):
        shards(tmp_path)
        (tmp_path / "test-0000.tar").write_bytes(b"no tar" * 200)
        assert "test-0000.tar" in message("wds/", tmp_path)
        assert "expected an uncompressed tar file" in message("wds/", tmp_path)

    @pytest.mark.filterwarnings("ignore")
    def test_timm_and_webdataset_read_the_same(self, tmp_path):
        webdataset = pytest.importorskip("webdataset")
        from timm.data import create_dataset

        for split, classes in (("train", TRAIN), ("test", TEST)):
            with webdataset.TarWriter(str(tmp_path / f"{split}-0.tar")) as writer:
                for n, c in enumerate(classes):
                    writer.write({"__key__": f"{n:03}", "jpg": jpeg(n * 20), "cls": c})
        ours = opened("wds/", tmp_path).train
        theirs = [*create_dataset("wds/", root=str(tmp_path), split=f"train-0.tar|{len(TRAIN)}")]
        assert [int(target) for _, target in theirs] == [*ours.targets]
        for index, (image, _) in enumerate(theirs):
            assert np.array_equal(np.asarray(image), np.asarray(ours.open(index)))


class TestTfds:
    def test_a_stream_is_held_up_to_a_limit(self):
        samples = [(jpeg(), 0), (jpeg(), np.int64(1))]
        encoded, labels = hold(samples, 2 * len(jpeg()), "train of tfds/x")
        assert (encoded, labels) == ([jpeg(), jpeg()], [0, 1])
        with pytest.raises(
            DatasetError, match="after 2 images the memory is full of 'train of tfds/x'; raise memory_gb="
        ):
            hold(samples, 2 * len(jpeg()) - 1, "train of tfds/x")

    def test_timms_reader_is_read_through_once(self, tmp_path, monkeypatch):
        """By a stand-in for the package, which needs all of TensorFlow."""
        splits = {"train": TRAIN, "validation": TEST}

        def as_dataset(split, shuffle_files, decoders):
            assert not shuffle_files
            assert decoders == {"image": "skipped"}
            return [{"image": jpeg(n), "label": c} for n, c in enumerate(splits[split])]

        package = ModuleType("tensorflow_datasets")
        package.decode, package.as_numpy = SimpleNamespace(SkipDecoding=lambda: "skipped"), iter
        package.__spec__ = importlib.util.spec_from_loader("tensorflow_datasets", None)
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", package)

        def create_reader(name, root, split, **keys):
            assert (name, root) == ("tfds/ants", str(tmp_path))
            assert splits[split]
            return SimpleNamespace(builder=SimpleNamespace(as_dataset=as_dataset), class_to_idx={"ant": 0, "bee": 1})

        monkeypatch.setattr("timm.data.readers.reader_factory.create_reader", create_reader)
        dataset = opened("tfds/ants", tmp_path)
        assert ([*dataset.train.targets], dataset.test.name(2)) == (TRAIN, "validation[2]")
        assert list(dataset.class_names) == ["ant", "bee", "2"]
        assert "the memory is full" in message("tfds/ants", tmp_path, memory_gb="0.000001")
