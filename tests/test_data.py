"""Data: three parts that never meet, files that are read exactly or refused by name."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from mmc import data


def idx(array: np.ndarray) -> bytes:
    """An idx file by its definition."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def tiny_mnist(tmp_path: Path) -> Path:
    """A folder in the publisher's layout, with made-up images: the first pixel tells the image's number."""
    raw, rng = tmp_path / "MNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for part, count in (("train", 100), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        images[:, 0, 0] = np.arange(count)
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (raw / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(count, dtype=np.uint8) % 10)))
    return tmp_path


def test_digits_are_split_into_three_that_never_meet() -> None:
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    assert digits.shape == (1, 8, 8)
    parts = [digits.train, digits.validation, digits.test]
    assert [len(part) for part in parts] == [1097, 200, 500]
    rows = torch.cat([torch.cat([part.x.flatten(1) * 16, part.y[:, None].float()], 1) for part in parts]).tolist()
    source = np.column_stack([load_digits().data, load_digits().target]).tolist()
    assert sorted(rows) == sorted(source), "every image is in exactly one part"
    assert all(len(part.y.unique()) == 10 for part in parts)


def test_the_split_is_the_same_every_time() -> None:
    first, again = data.load("digits"), data.load("digits")
    assert first.digest() == again.digest() and first.test.x.equal(again.test.x)


def test_pixels_are_in_the_unit_interval(tiny_mnist: Path) -> None:
    for dataset in (data.load("digits"), data.load("mnist", tiny_mnist, allow_unofficial=True)):
        for part in (dataset.train, dataset.validation, dataset.test):
            assert part.x.dtype == torch.float32 and part.y.dtype == torch.int64
            assert part.x.min() >= 0 and part.x.max() <= 1
        assert len(dataset.mean) == len(dataset.std) == 1 and 0 < dataset.mean[0] < 1 and dataset.std[0] > 0


def test_mnist_keeps_the_publishers_test_set_whole_and_in_order(tiny_mnist: Path) -> None:
    mnist = data.load("mnist", tiny_mnist, allow_unofficial=True)
    assert not mnist.official
    assert (mnist.test.x[:, 0, 0, 0] * 255).round().tolist() == list(range(20))
    assert mnist.test.y.tolist() == [i % 10 for i in range(20)]
    numbers = torch.cat([mnist.train.x, mnist.validation.x])[:, 0, 0, 0].mul(255).round()
    assert sorted(numbers.tolist()) == list(range(100))
    labels = torch.cat([mnist.train.y, mnist.validation.y])
    assert (numbers % 10).equal(labels.float()), "an image keeps its label"


def test_a_changed_pixel_changes_the_digest(tiny_mnist: Path) -> None:
    mnist = data.load("mnist", tiny_mnist, allow_unofficial=True)
    before = mnist.digest()
    mnist.test.pixels[0, 0, 5, 5] = 255 - mnist.test.pixels[0, 0, 5, 5]
    assert mnist.digest() != before


def test_a_copy_that_is_not_the_publishers_loads_only_when_told(tiny_mnist: Path) -> None:
    with pytest.raises(ValueError, match=r"train-images.*has md5.*fetch it again from https://.*allow_unofficial"):
        data.load("mnist", tiny_mnist)


def test_missing_files_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.FOLDER, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/MNIST/raw/train-images.*unset MMC_DATA"):
        data.load("mnist")


def test_a_failed_download_says_how_to_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(data.FOLDER, raising=False)
    monkeypatch.setattr(data, "MNIST_URL", (tmp_path / "nowhere").as_uri() + "/")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match=r"could not download.*set MMC_DATA"):
        data.load("mnist")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(idx(np.zeros((3, 4), np.uint8)))[:-12],
        gzip.compress(b"\0\0"),
        gzip.compress(idx(np.zeros((3, 4), np.uint8))[:-1]),
        gzip.compress(b"\0\0\x0d\1" + struct.pack(">I", 0)),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "some-idx.gz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"some-idx\.gz is .*fetch it again"):
        data.read_idx(file)


@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3), (2, 3, 4)])
def test_idx_files_are_read_exactly(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array)))
    np.testing.assert_array_equal(data.read_idx(tmp_path / "a.gz"), array)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no data set 'svhn'; there are: digits, mnist"):
        data.load("svhn")


@pytest.mark.skipif(not os.environ.get(data.FOLDER), reason=f"MNIST is not at hand: set {data.FOLDER} to its folder")
def test_the_official_mnist() -> None:
    mnist = data.load("mnist")
    assert mnist.official
    assert [len(part) for part in (mnist.train, mnist.validation, mnist.test)] == [55_000, 5_000, 10_000]
    assert mnist.test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
