"""What the paper's Table 9 says of the ten data sets, with its two misprints put right."""

from __future__ import annotations

from fgbench.datasets.dataset import Published

TABLE9 = {
    "cub": Published(classes=200, train_images=5994, test_images=5794),
    "dafb": Published(classes=3263, train_images=368_997, test_images=94_440),
    "dogs": Published(classes=120, train_images=12_000, test_images=8580),
    "flowers": Published(classes=102, train_images=2040, test_images=6149),
    "food": Published(classes=101, train_images=75_750, test_images=25_250),
    "inat17": Published(classes=5089, train_images=579_184, test_images=95_986),
    "moe": Published(classes=173, train_images=11_454, test_images=2943),
    "nabirds": Published(
        classes=555,
        train_images=23_929,
        test_images=24_633,
        misprints=("Table 9 prints 600 classes for nabirds; 555 have images",),
    ),
    "pets": Published(classes=37, train_images=3680, test_images=3669),
    "vegfru": Published(
        classes=292,
        train_images=43_800,
        test_images=116_931,
        misprints=("Table 9 prints 116,391 test images for vegfru; its list has 116,931",),
    ),
}
