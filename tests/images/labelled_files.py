"""Small files in the formats of MNIST and CIFAR-10, with classes in equal numbers."""

import gzip
import pickle
from pathlib import Path

import numpy as np

TRAIN, TEST = 60, 20  # images


def drawn(count, *shape):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), rng.permutation(np.arange(count) % 10).astype(np.uint8)


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def write_idx(folder: Path, zipped=True, side=28, train=TRAIN, test=TEST) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        for kind, array in zip(("images-idx3", "labels-idx1"), drawn(count, side, side), strict=True):
            path = folder / f"{part}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    return folder


def batches(train=TRAIN, test=TEST):
    """Name, (n, 3072) pixels and (n,) labels of every batch."""
    pixels, labels = drawn(train, 3072)
    names = [f"data_batch_{k}" for k in range(1, 6)]
    yield from zip(names, np.split(pixels, 5), np.split(labels, 5), strict=True)
    yield "test_batch", *drawn(test, 3072)


def write_cifar(folder: Path, binary=False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels, labels in batches():
        if binary:
            (folder / f"{name}.bin").write_bytes(np.concatenate([labels[:, None], pixels], axis=1).tobytes())
        else:
            write_batch(folder / name, {b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"a batch"})
    return folder


def write_batch(path: Path, content) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))
