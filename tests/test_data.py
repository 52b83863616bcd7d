"""Data: three parts that never meet, files that are read exactly or refused by name, nothing run on the way."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import math
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc import data
from mmc.data import Dataset, Split, cifar, mnist, publisher

PARTS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def no_copy_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(data.UNOFFICIAL, raising=False)


# Splits and data sets


def made_up(counts: list[int], channels: int = 1) -> Dataset:
    """A data set of bytes with so many training images per class; the first pixels tell an image's number."""
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    pixels = torch.randint(256, (len(y), channels, 4, 4), generator=torch.Generator().manual_seed(2)).byte()
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = torch.arange(len(y)) // 256, torch.arange(len(y)) % 256
    other = Split(pixels[:1].repeat(2 * len(counts), 1, 1, 1), torch.arange(len(counts)).repeat(2))
    names = tuple(f"class {k}" for k in range(len(counts)))
    return Dataset("made-up", len(counts), Split(pixels, y), other, other, True, names, tuple(range(len(counts))))


def numbers(split: Split) -> list[int]:
    return (split.pixels[:, 0, 0, 0].int() * 256 + split.pixels[:, 0, 0, 1]).tolist()


@pytest.mark.parametrize("levels", [1, 3, 16, 255])
def test_bytes_become_the_nearest_floats_in_the_unit_interval(levels: int) -> None:
    pixels = torch.arange(levels + 1, dtype=torch.uint8)[:, None, None, None]
    split = Split(pixels, torch.zeros(levels + 1, dtype=torch.long), levels)
    nearest = torch.from_numpy((np.arange(levels + 1) / levels).astype(np.float32))
    assert split.x.flatten().equal(nearest) and split.x.dtype == torch.float32
    assert split.images(pixels[1:]).equal(split.x[1:])
    assert split.pixels is pixels and pixels.dtype == torch.uint8, "nothing is changed in place"


def test_float_pixels_are_the_images() -> None:
    pixels = torch.rand(5, 1, 2, 3)
    split = Split(pixels, torch.arange(5))
    assert split.x is pixels and split.images(pixels[:2]).equal(pixels[:2])
    assert split.first(2).x.equal(pixels[:2]) and len(split.first(9)) == 5


def test_examples_are_taken_with_their_labels() -> None:
    split = Split(torch.arange(6, dtype=torch.uint8)[:, None, None, None], torch.arange(6), 16)
    for index in (slice(1, 3), torch.tensor([4, 0]), torch.arange(6) > 3):
        assert split[index].pixels.flatten().equal(split[index].y.byte()) and split[index].levels == 16
    assert split.to("cpu").levels == split.first(2).levels == 16


@pytest.mark.parametrize(
    ("pixels", "labels", "levels", "message"),
    [
        (torch.zeros(2, 1, 2, 2, dtype=torch.int64), 2, 255, "pixels must be uint8 or floats"),
        (torch.zeros(2, 2, 2), 2, 255, r"pixels must be .*\(N, C, H, W\), not torch.float32 \(2, 2, 2\)"),
        (torch.zeros(2, 1, 2, 2), 3, 255, "2 images need as many labels"),
        (torch.zeros(2, 1, 2, 2), 2, 0, "levels must be 1 to 255, not 0"),
    ],
)
def test_what_is_no_split_is_refused(pixels: torch.Tensor, labels: int, levels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split(pixels, torch.zeros(labels, dtype=torch.long), levels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("floats", [False, True])
def test_mean_and_std_are_those_of_the_training_pixels_by_channel(channels: int, floats: bool) -> None:
    dataset = made_up([30, 20], channels)
    if floats:
        dataset = dataset.map_parts(lambda split: Split(split.x, split.y))
    x = dataset.train.x.double()
    assert dataset.mean == pytest.approx(x.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert dataset.std == pytest.approx(x.transpose(0, 1).flatten(1).std(1).tolist(), rel=1e-12)
    assert isinstance(dataset.mean, tuple) and len(dataset.std) == channels


def test_every_change_changes_the_digest() -> None:
    first = made_up([5, 5], 3)
    assert first.digest() == made_up([5, 5], 3).digest()
    changed = [first.map_parts(lambda split: dataclasses.replace(split, levels=254)), made_up([5, 4], 3)]
    for part in PARTS:
        for field in ("pixels", "y"):
            other = made_up([5, 5], 3)
            getattr(getattr(other, part), field).flatten()[-1] ^= 1
            changed.append(other)
    # The made-up validation and test are one and the same split, so two of these changes agree.
    assert len({first.digest(), *(other.digest() for other in changed)}) == 7


def test_parts_are_disjoint_fixed_and_keep_their_labels() -> None:
    y = np.arange(100)
    pixels = y.astype(np.uint8)[:, None, None, None]
    parts = data.carve([pixels[:7], pixels[7:60], pixels[60:]], y, (10, 20))
    assert [len(part) for part in parts] == [10, 20, 70]
    assert sorted(torch.cat([part.y for part in parts]).tolist()) == y.tolist()
    assert all(part.pixels.flatten().equal(part.y.byte()) for part in parts)
    assert all(a.y.equal(b.y) for a, b in zip(parts, data.carve([pixels], y, (10, 20)), strict=True))


# The embedded digits


def test_digits_are_split_into_three_that_never_meet() -> None:
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    assert digits.shape == (1, 8, 8) and digits.train.levels == 16
    parts = [digits.train, digits.validation, digits.test]
    assert [len(part) for part in parts] == [1097, 200, 500]
    rows = torch.cat([torch.cat([part.x.flatten(1) * 16, part.y[:, None].float()], 1) for part in parts]).tolist()
    source = np.column_stack([load_digits().data, load_digits().target]).tolist()
    assert sorted(rows) == sorted(source), "every image is in exactly one part"
    assert all(len(part.y.unique()) == 10 for part in parts)


def test_the_split_is_the_same_every_time() -> None:
    first, again = data.load("digits"), data.load("digits")
    assert first.digest() == again.digest() and first.test.x.equal(again.test.x)
    bits = hashlib.sha256(first.train.x.numpy().tobytes() + first.train.y.numpy().tobytes()).hexdigest()
    assert bits[:16] == "076ade9dee65e386", "the images that the stored outputs were made from"


# MNIST from made-up files


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


def test_mnist_keeps_the_publishers_test_set_whole_and_in_order(tiny_mnist: Path) -> None:
    found = data.load("mnist", tiny_mnist, allow_unofficial=True)
    assert not found.official and found.shape == (1, 28, 28)
    assert [len(getattr(found, part)) for part in PARTS] == [90, 10, 20]
    assert found.test.pixels[:, 0, 0, 0].tolist() == list(range(20))
    assert found.test.y.tolist() == [i % 10 for i in range(20)]
    both = torch.cat([found.train.pixels, found.validation.pixels])[:, 0, 0, 0].long()
    assert sorted(both.tolist()) == list(range(100))
    assert (both % 10).equal(torch.cat([found.train.y, found.validation.y])), "an image keeps its label"


def test_a_copy_that_is_not_the_publishers_loads_only_when_told(
    tiny_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("", "0"):
        monkeypatch.setenv(data.UNOFFICIAL, value)
        with pytest.raises(ValueError, match=r"train-images.*has md5.*fetch it again from https://.*allow_unofficial"):
            data.load("mnist", tiny_mnist)
    monkeypatch.setenv(data.UNOFFICIAL, "1")
    assert not data.load("mnist", tiny_mnist).official


def test_missing_files_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.FOLDER, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/MNIST/raw/train-images.*unset MMC_DATA"):
        data.load("mnist")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(idx(np.zeros((3, 4), np.uint8)), mtime=0)[:-12],
        gzip.compress(b"\0\0", mtime=0),
        gzip.compress(idx(np.zeros((3, 4), np.uint8))[:-1], mtime=0),
        gzip.compress(b"\0\0\x0d\1" + struct.pack(">I", 0), mtime=0),
        gzip.compress(b"\0\0\x08\2" + struct.pack(">II", 2**32 - 1, 2**32 - 1), mtime=0),
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


@pytest.mark.parametrize("labels", [np.zeros(19, np.uint8), np.full(20, 10, np.uint8), np.zeros((20, 1), np.uint8)])
def test_images_and_labels_that_do_not_fit_are_named(tiny_mnist: Path, labels: np.ndarray) -> None:
    (tiny_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    with pytest.raises(ValueError, match=r"t10k-images.* and its labels do not fit"):
        data.load("mnist", tiny_mnist, allow_unofficial=True)


# Pickles


def python2(value: Any) -> bytes:
    """The opcodes by which Python 2 and its NumPy wrote CIFAR's files."""
    if isinstance(value, bytes):
        return b"T" + struct.pack("<I", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(key) + python2(entry) for key, entry in value.items()) + b"u"
    kind = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01(" + b"".join(map(python2, value.shape)) + b"t" + kind + b"\x89" + python2(value.tobytes()) + b"t"
    return b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR" + state + b"b"


def python2_pickle(fields: dict[bytes, Any]) -> bytes:
    return b"\x80\x02" + python2(fields) + b"."


def read(content: bytes) -> dict[str, Any]:
    return data.read_pickle(Path("some-batch"), content)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    protocol=st.integers(2, 4),
    columns=st.booleans(),
    plain=st.recursive(st.integers() | st.text() | st.booleans(), lambda inner: st.lists(inner, max_size=3)),
)
@settings(max_examples=60, deadline=None)
def test_arrays_numbers_and_texts_come_out_as_they_went_in(
    shape: list[int], protocol: int, columns: bool, plain: Any
) -> None:
    array = np.asarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8), order="F" if columns else "C")
    found = read(pickle.dumps({"data": array, "labels": plain}, protocol))
    np.testing.assert_array_equal(found["data"], array)
    assert found["labels"] == plain and found["data"].dtype == np.uint8


def test_what_python_2_wrote_is_read_as_the_pickle_module_reads_it() -> None:
    fields = {b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [3, -1], b"names": [b"a", b"\xff"]}
    content = python2_pickle(fields)
    found, reference = read(content), pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(found.pop("data"), reference.pop(b"data"))
    assert found == {key.decode(): value for key, value in reference.items()}


class Call:
    """Pickles as a call."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "eval"), (getattr, "getattr"), (np.load, "load"), (os.mkdir, "mkdir")],
)
def test_a_malicious_pickle_is_refused_by_name_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Callable, name: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {"system": "touch ran", "eval": "open('ran', 'w')", "load": "ran", "mkdir": "ran"}
    call = Call(function, *([arguments[name]] if name in arguments else ["", "upper"]))
    with pytest.raises(ValueError, match=rf"some-batch is damaged or no data \(it asks for [\w.]+\.{name}, which no"):
        read(pickle.dumps({"data": call}, protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"data": np.zeros(3)}, 2),
        pickle.dumps({"data": np.array([{}])}, 2),
        pickle.dumps({"data": Call(np.dtype, "O")}, 2),
        pickle.dumps([1], 2),
        # An array that says it is larger than its bytes; one whose bytes are none; bytes in another encoding.
        python2_pickle({b"data": np.zeros(2, np.uint8)}).replace(b"(J\x02\0\0\0t", b"(J\x03\0\0\0t"),
        python2_pickle({b"data": np.zeros(2, np.uint8)}).replace(b"T\x02\0\0\0\0\0t", b"K\x02t"),
        b"\x80\x02}(U\x01ac_codecs\nencode\n(X\x01\0\0\0bX\x05\0\0\0rot13tRu.",
        # A stand-in given a state, or attributes, from outside.
        b"\x80\x02}(U\x01acnumpy\nndarray\n}U\x05arrayK\x01sbu.",
        b"\x80\x02}(U\x01acnumpy\ndtype\nN}U\x01xK\x01s\x86bu.",
        b"\x80\x02}(U\x01aU\x01bQu.",
    ],
)
def test_anything_else_than_byte_arrays_and_plain_values_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"(?s)some-batch is (damaged or )?no data.*fetch it again"):
        read(content)


def test_a_pickle_cut_off_anywhere_is_refused() -> None:
    content = python2_pickle({b"data": np.zeros((2, 3), np.uint8), b"labels": [1, 2]})
    for end in range(len(content)):
        with pytest.raises(ValueError, match="some-batch is damaged"):
            read(content[:end])


# CIFAR from made-up files

RNG = np.random.default_rng(0)


def made_up_batch(labels: np.ndarray, keys: tuple[str, ...], offset: int = 0) -> dict[bytes, Any]:
    """A batch whose images tell their number in the first red, and their label in the first green and blue pixel."""
    pixels = RNG.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    pixels[:, 0], pixels[:, 1024], pixels[:, 2048] = np.arange(offset, offset + len(labels)), labels, labels
    fields = {b"data": pixels, keys[0].encode(): labels.tolist()}
    return fields | {key.encode(): (labels // 5).tolist() for key in keys[1:]}


def made_up_cifar(name: str) -> dict[str, dict[bytes, Any]]:
    """The fields of each of the publisher's files."""
    if name == "cifar10":
        files = {f"data_batch_{k + 1}": made_up_batch(np.arange(20) % 10, ("labels",), offset=20 * k) for k in range(5)}
        files |= {"test_batch": made_up_batch(np.arange(30) % 10, ("labels",))}
        return files | {"batches.meta": {b"label_names": [b"class %d" % k for k in range(10)]}}
    keys = ("fine_labels", "coarse_labels")
    return {
        "train": made_up_batch(np.arange(200) % 100, keys),
        "test": made_up_batch(np.arange(100), keys),
        "meta": {
            b"fine_label_names": [b"class %d" % k for k in range(100)],
            b"coarse_label_names": [b"group %d" % k for k in range(20)],
        },
    }


NAMES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


@pytest.fixture(params=NAMES)
def cifar_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def tiny_cifar(tmp_path: Path, cifar_name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the publisher's layout with made-up files that count as the publisher's."""
    source = getattr(cifar, NAMES[cifar_name])
    folder = tmp_path / "published" / source.folder
    folder.mkdir(parents=True)
    for name, fields in made_up_cifar(cifar_name).items():
        (folder / name).write_bytes(python2_pickle(fields))
    official = dataclasses.replace(source, md5={name: md5((folder / name).read_bytes()) for name in source.md5})
    monkeypatch.setattr(cifar, NAMES[cifar_name], official)
    return folder.parent


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_cifar_keeps_its_test_set_whole_its_planes_and_its_names(cifar_name: str, tiny_cifar: Path) -> None:
    found = data.load(cifar_name, tiny_cifar)
    hundred = cifar_name == "cifar100"
    sizes, count = ([180, 20, 100], 100) if hundred else ([90, 10, 30], 10)
    assert found.official and found.shape == (3, 32, 32) and found.num_classes == count
    assert [len(getattr(found, part)) for part in PARTS] == sizes
    assert found.classes == tuple(f"class {k}" for k in range(count))
    assert found.groups == (tuple(k // 5 for k in range(100)) if hundred else ())
    for part in PARTS:
        split = getattr(found, part)
        assert split.pixels.dtype == torch.uint8 and split.pixels.is_contiguous() and split.y.dtype == torch.int64
        assert split.pixels[:, 1, 0, 0].long().equal(split.y) and split.pixels[:, 2, 0, 0].long().equal(split.y)
    assert found.test.pixels[:, 0, 0, 0].tolist() == list(range(sizes[2]))
    both = torch.cat([found.train.pixels, found.validation.pixels])[:, 0, 0, 0]
    assert sorted(both.tolist()) == list(range(sizes[0] + sizes[1]))
    assert len(found.mean) == len(found.std) == 3


def test_a_changed_byte_is_refused_unless_told(cifar_name: str, tiny_cifar: Path) -> None:
    source = getattr(cifar, NAMES[cifar_name])
    path = tiny_cifar / source.folder / next(iter(source.md5))
    content = bytearray(path.read_bytes())
    content[content.index(b"data") + 500] ^= 1  # a pixel
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} has md5 \w+, .*publisher's.*from {source.url}, .*MMC_ALLOW_UNOFF"):
        data.load(cifar_name, tiny_cifar)
    found = data.load(cifar_name, tiny_cifar, allow_unofficial=True)
    assert not found.official


def test_a_malicious_file_is_refused_even_when_copies_are_admitted(cifar_name: str, tiny_cifar: Path) -> None:
    source, ran = getattr(cifar, NAMES[cifar_name]), tiny_cifar / "ran"
    path = tiny_cifar / source.folder / next(iter(source.md5))
    path.write_bytes(pickle.dumps({"data": Call(os.mkdir, str(ran))}, 2))
    with pytest.raises(ValueError, match=rf"{path} is damaged or no data \(it asks for posix\.mkdir, which no array"):
        data.load(cifar_name, tiny_cifar, allow_unofficial=True)
    assert not ran.exists()


def test_missing_and_truncated_cifar_files_are_named(cifar_name: str, tiny_cifar: Path) -> None:
    source = getattr(cifar, NAMES[cifar_name])
    for name in source.md5:
        path = tiny_cifar / source.folder / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=rf"{path} has md5"):
            data.load(cifar_name, tiny_cifar)
        with pytest.raises(ValueError, match=rf"{path} is damaged"):
            data.load(cifar_name, tiny_cifar, allow_unofficial=True)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=rf"no file {path}\. Put what {source.url} holds.*unset MMC_DATA"):
            data.load(cifar_name, tiny_cifar)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("data_batch_2", {b"data": None}, r"'data' must be bytes \(n, 3072\), not missing"),
        ("data_batch_2", {b"data": np.zeros((20, 3071), np.uint8)}, r"'data' must be .*not shape \(20, 3071\)"),
        ("data_batch_2", {b"data": np.zeros(3072, np.uint8)}, r"'data' must be"),
        ("test_batch", {b"labels": list(range(10))}, "10 'labels' for 30 images"),
        ("test_batch", {b"labels": [10] * 30}, "'labels' run from 10 to 10, expected 0 to 9"),
        ("test_batch", {b"labels": [-1] * 30}, "'labels' run from -1"),
        ("test_batch", {b"labels": [b"3"] * 30}, "'labels' must be a list of integers"),
        ("batches.meta", {b"label_names": [b"one"]}, "'label_names' must be 10 names"),
        ("train", {b"fine_labels": None}, "'fine_labels' must be a list of integers"),
        ("test", {b"coarse_labels": [0] * 100}, r"class 'class 5' lies in the super-classes 'group \d' and"),
        ("test", {b"coarse_labels": [20] * 100}, "'coarse_labels' run from 20 to 20, expected 0 to 19"),
        ("meta", {b"coarse_label_names": []}, "'coarse_label_names' must be 20 names"),
    ],
)
def test_cifar_files_of_other_content_are_named(tmp_path: Path, name: str, changes: dict, message: str) -> None:
    [which] = [key for key, source in NAMES.items() if name in getattr(cifar, source).md5]
    folder = tmp_path / getattr(cifar, NAMES[which]).folder
    folder.mkdir()
    for file, fields in made_up_cifar(which).items():
        changed = fields | changes if file == name else fields
        kept = {key: value for key, value in changed.items() if value is not None}
        (folder / file).write_bytes(python2_pickle(kept))
    with pytest.raises(ValueError, match=message):
        data.load(which, tmp_path, allow_unofficial=True)


# Downloads


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no folder named."""
    monkeypatch.delenv(data.FOLDER, raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *ignored: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A web server on this machine: its address, and the folder it serves."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "web"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/", folder
        web.shutdown()
        thread.join()


def tar_gz(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def members(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_over(folder: Path) -> list[str]:
    """All files below a folder but locks."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def publish(name: str, address: str, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> publisher.Publisher:
    """Let a data set's archive be this one, at this address."""
    source = dataclasses.replace(getattr(cifar, NAMES[name]), url=f"{address}{name}.tar.gz", archive_md5=md5(archive))
    monkeypatch.setattr(cifar, NAMES[name], source)
    return source


def test_an_archive_is_downloaded_once_and_only_its_named_files_are_kept(
    cifar_name: str, tiny_cifar: Path, cache: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, web = server
    inside = members(tiny_cifar)
    archive = tar_gz(inside | {"../evil": b"1", "/tmp/evil": b"2", f"{next(iter(inside))}.html": b"3"})
    publish(cifar_name, address, archive, monkeypatch)
    (web / f"{cifar_name}.tar.gz").write_bytes(archive)
    found = data.load(cifar_name)
    assert found.official and left_over(cache) == sorted(inside)
    (web / f"{cifar_name}.tar.gz").unlink()
    assert data.load(cifar_name).digest() == found.digest() == data.load(cifar_name, cache).digest()


def test_a_download_cut_off_is_refused_and_mended_by_the_next(
    cifar_name: str, tiny_cifar: Path, cache: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, web = server
    inside = members(tiny_cifar)
    archive = tar_gz(inside)
    source = publish(cifar_name, address, archive, monkeypatch)
    for damaged in (archive[:-100], b"<html>Not today</html>"):
        (web / f"{cifar_name}.tar.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"what {source.url} sent is cut off or altered.*not kept.*set MMC_DATA"):
            data.load(cifar_name)
        assert left_over(cache) == []
    (web / f"{cifar_name}.tar.gz").write_bytes(archive)
    assert data.load(cifar_name).official


@pytest.mark.parametrize("cifar_name", ["cifar100"], indirect=True)
@pytest.mark.parametrize("fault", ["truncated", "altered", "lacking", "link"])
def test_a_bad_archive_leaves_no_bad_file(
    tiny_cifar: Path, cifar_name: str, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, last = members(tiny_cifar), "cifar-100-python/train"
    inside[last] = inside.pop(last)
    if fault == "altered":
        inside[last] = b"1"
    archive = tmp_path / "archive.tar.gz"
    content = tar_gz(
        {name: held for name, held in inside.items() if name != last or fault in ("truncated", "altered")},
        {last: str(tiny_cifar / last)} if fault == "link" else None,
    )
    archive.write_bytes(content[: len(content) * 2 // 3] if fault == "truncated" else content)
    message = {"truncated": "is damaged", "altered": "its train has md5"}.get(fault, f"lacks {last}")
    with pytest.raises(ValueError, match=rf"{archive} .*{message}.*fetch .* again"):
        publisher.unpack(archive, cifar.CIFAR100, tmp_path / "place")
    kept = {name: md5(content) for name, content in members(tmp_path / "place").items()}
    assert kept.items() <= {name: cifar.CIFAR100.md5[name] for name in ("test", "meta")}.items()


def test_single_files_are_downloaded_once(
    tiny_mnist: Path, cache: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, web = server
    files = {path.name: path.read_bytes() for path in (tiny_mnist / "MNIST" / "raw").iterdir()}
    official = {name: md5(files[name]) for name in mnist.MNIST.md5}
    monkeypatch.setattr(mnist, "MNIST", dataclasses.replace(mnist.MNIST, url=address, md5=official))
    for name, content in files.items():
        (web / name).write_bytes(content)
    found = data.load("mnist")
    for name in files:
        (web / name).unlink()
    assert found.official and data.load("mnist").digest() == found.digest()
    assert left_over(cache) == sorted(f"MNIST/raw/{name}" for name in files)


def test_a_failed_download_says_how_to_do_without(
    cache: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (server[0], "http://127.0.0.1:1/"):
        monkeypatch.setattr(mnist, "MNIST", dataclasses.replace(mnist.MNIST, url=address))
        with pytest.raises(FileNotFoundError, match=r"could not download.*set MMC_DATA"):
            data.load("mnist")
    assert left_over(cache) == []


# Variants


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    ratios=st.tuples(st.floats(1, 200), st.floats(1, 200)),
    seed=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_a_long_tail_thins_the_training_classes_by_its_law(
    counts: list[int], ratios: tuple[float, float], seed: int
) -> None:
    dataset, weak, strong = made_up(counts), min(ratios), max(ratios)
    found, fewer = (data.long_tailed(dataset, ratio, seed) for ratio in (weak, strong))
    for k, size in enumerate(torch.bincount(found.train.y, minlength=len(counts)).tolist()):
        law = max(counts) * weak ** (-k / (len(counts) - 1))
        assert size == min(counts[k], max(1, round(law)))
    kept = numbers(found.train)
    assert set(numbers(fewer.train)) <= set(kept), "a longer tail keeps a part of what a shorter one keeps"
    assert kept == [n for n in numbers(dataset.train) if n in set(kept)], "the order stays"
    assert found.validation is dataset.validation and found.test is dataset.test
    assert data.long_tailed(dataset, weak, seed).digest() == found.digest()
    assert data.long_tailed(made_up([30] * len(counts)), 1.0).digest() == made_up([30] * len(counts)).digest()


def test_seeds_draw_other_images() -> None:
    dataset = made_up([40, 40, 40])
    draws = [numbers(data.long_tailed(dataset, 10.0, seed).train) for seed in (0, 1)]
    assert draws[0] != draws[1] and len(draws[0]) == len(draws[1])


@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=5), ratio=st.floats(1, 50), choice=st.randoms())
@settings(max_examples=40, deadline=None)
def test_two_classes_are_renamed_and_the_second_is_thinned(counts: list[int], ratio: float, choice: Any) -> None:
    dataset = made_up(counts)
    first, second = choice.sample(range(len(counts)), 2)
    found = data.two_classes(dataset, first, second, ratio)
    assert found.num_classes == 2 and found.classes == (f"class {first}", f"class {second}")
    assert found.groups == (first, second)
    assert torch.bincount(found.train.y).tolist() == [counts[first], max(1, round(counts[second] / ratio))]
    label = dict(zip(numbers(dataset.train), dataset.train.y.tolist(), strict=True))
    named = [(first, second)[y] for y in found.train.y]
    assert [label[n] for n in numbers(found.train)] == named, "an image keeps its class"
    for part in (found.validation, found.test):
        assert torch.bincount(part.y).tolist() == [2, 2]


@pytest.mark.parametrize("size", [1, 17, 60])
def test_a_smaller_training_set_is_a_fixed_part(size: int) -> None:
    dataset = made_up([20, 40])
    found, all_numbers = numbers(data.train_size(dataset, size).train), numbers(dataset.train)
    assert len(found) == size and found == [n for n in all_numbers if n in set(found)]
    assert found == numbers(data.train_size(dataset, size).train)
    assert set(found) <= set(numbers(data.train_size(dataset, 60).train))


def test_variants_load_by_name_in_their_order() -> None:
    digits = data.load("digits")
    for variant, same in (
        ((), digits),
        ((("long_tailed", 100.0),), data.long_tailed(digits, 100.0)),
        ((("two_classes", (3, 5)), ("ratio", 10.0)), data.two_classes(digits, 3, 5, 10.0)),
        ((("ratio", 10), ("two_classes", [3, 5])), data.two_classes(digits, 3, 5, 10.0)),
        ([["train_size", 500], ["long_tailed", 10]], data.long_tailed(data.train_size(digits, 500), 10)),
    ):
        assert data.load("digits", variant=variant).digest() == same.digest()
    assert len(digits.train) == 1097, "the data set itself stays as it is"


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ((("long_tail", 2),), "no variant 'long_tail'; there are: long_tailed, two_classes, train_size"),
        ((("long_tailed", 0.5),), "long_tailed takes a finite number >= 1, not 0.5"),
        ((("long_tailed", math.nan),), "long_tailed takes .* not nan"),
        ((("long_tailed", math.inf),), "long_tailed takes .* not inf"),
        ((("long_tailed", True),), "long_tailed takes .* not True"),
        ((("long_tailed", "9"),), "long_tailed takes .* not '9'"),
        ((("two_classes", 3),), r"two_classes takes two classes as in \(3, 5\), not 3"),
        ((("two_classes", (3, 5, 7)),), "two_classes takes two classes as in"),
        ((("two_classes", (3, 10)),), "two_classes takes classes from 0 to 9, not 10"),
        ((("two_classes", (3, 5.0)),), "two_classes takes classes from 0 to 9, not 5.0"),
        ((("two_classes", (3, 3)),), "two different classes, not 3 twice"),
        ((("two_classes", (3, 5)), ("ratio", 0)), "ratio takes a finite number >= 1, not 0"),
        ((("ratio", 2),), "ratio goes with two_classes"),
        ((("train_size", 0),), "train_size takes 1 to 1097 images of digits, not 0"),
        ((("train_size", 1098),), "train_size takes 1 to 1097"),
        ((("train_size", 5.5),), "train_size takes .* not 5.5"),
        ((("train_size", 5), ("train_size", 4)), "named once, not twice: train_size"),
    ],
)
def test_unknown_variants_and_bad_values_are_refused_by_name(variant: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.load("digits", variant=variant)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no data set 'svhn'; there are: digits, mnist, cifar10, cifar100"):
        data.load("svhn")


def test_data_need_torch_and_numpy_alone_until_they_are_loaded() -> None:
    script = "import sys, torch; before = set(sys.modules); import mmc.data; print(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rooms = {name.partition(".")[0] for name in run.stdout.split()} - set(sys.stdlib_module_names)
    assert rooms <= {"mmc", "torch", "numpy"}


# The published files


def at_hand(source: publisher.Publisher) -> pytest.MarkDecorator:
    folder = os.environ.get(data.FOLDER)
    there = bool(folder) and all((Path(folder) / source.folder / name).is_file() for name in source.md5)
    return pytest.mark.skipif(
        not there, reason=f"{source.title} is not at hand: set {data.FOLDER} to a folder that holds {source.folder}/"
    )


@at_hand(mnist.MNIST)
def test_the_official_mnist() -> None:
    found = data.load("mnist")
    assert found.official
    assert [len(getattr(found, part)) for part in PARTS] == [55_000, 5_000, 10_000]
    assert found.test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    bits = hashlib.sha256(found.validation.x.numpy().tobytes() + found.validation.y.numpy().tobytes()).hexdigest()
    assert bits[:16] == "649b13cc47960001", "the images that the committed records were made from"


@at_hand(cifar.CIFAR10)
def test_the_official_cifar_10() -> None:
    found = data.load("cifar10")
    assert found.official and found.groups == ()
    assert [len(getattr(found, part)) for part in PARTS] == [45_000, 5_000, 10_000]
    assert found.classes[:4] == ("airplane", "automobile", "bird", "cat")
    assert [found.classes[k] for k in found.test.y[:4]] == ["cat", "ship", "ship", "airplane"]
    both = torch.cat([found.train.y, found.validation.y])
    assert torch.bincount(both).tolist() == [5000] * 10 and torch.bincount(found.test.y).tolist() == [1000] * 10
    assert found.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=3e-4)
    assert found.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=3e-4)


@at_hand(cifar.CIFAR100)
def test_cifar_100_and_its_super_classes() -> None:
    found = data.load("cifar100", allow_unofficial=True)
    assert [len(getattr(found, part)) for part in PARTS] == [45_000, 5_000, 10_000]
    assert torch.bincount(torch.tensor(found.groups)).tolist() == [5] * 20
    people = {name for name, group in zip(found.classes, found.groups, strict=True) if group == 14}
    assert people == {"baby", "boy", "girl", "man", "woman"}
    assert torch.bincount(torch.cat([found.train.y, found.validation.y])).tolist() == [500] * 100
    assert found.mean == pytest.approx((0.5071, 0.4865, 0.4409), abs=1e-3)
