"""What every data set keeps to."""

from collections.abc import Callable

from bench.core.randomness import seeded
from bench.data import Dataset

#: Loads the data set anew.
DatasetLoader = Callable[[], Dataset]


def the_splits_hold_every_class(load: DatasetLoader) -> None:
    """Training, validation and test images hold every class, so that each can be trained and measured."""
    dataset = load()
    for part in ("train", "validation", "test"):
        labels = getattr(dataset, part).labels
        absent = [name for number, name in enumerate(dataset.classes) if not (labels == number).any()]
        shown = ", ".join(map(str, absent[:5]))
        assert not absent, f"of {len(dataset.classes)} classes, {part} has no image of {shown}"


def images_differ(load: DatasetLoader) -> None:
    """Images are not all alike, and use the range of pixels: values in [0, 1] cast to uint8 would be black."""
    images = load().train.images[:1000]
    assert (images != images[:1]).any(), "all training images are equal"
    most = int(images.max())
    assert most > 1, f"the largest pixel is {most} of 255; multiply images in [0, 1] by 255 before casting"


def no_test_image_is_a_training_image(load: DatasetLoader) -> None:
    """At most one test image in a hundred also is a training image; published data sets have a few."""
    dataset = load()
    seen = {image.numpy().tobytes() for image in dataset.train.images}
    shared = sum(image.numpy().tobytes() in seen for image in dataset.test.images)
    share = shared / len(dataset.test)
    assert share <= 0.01, f"{shared} of {len(dataset.test)} test images are training images too"


def loading_twice_gives_the_same(load: DatasetLoader) -> None:
    """The fingerprint stays, whatever the global random state is; records are matched by it."""
    fingerprints = []
    for seed in (1, 2):
        with seeded(seed, "elsewhere"):
            fingerprints.append(load().fingerprint)
    assert fingerprints[0] == fingerprints[1], (
        "loaded twice, the images or their order differ; draw random numbers from a generator with a fixed seed"
    )


#: Checks of a data set: `check(lambda: bench.data.load("my_data:stripes"))`.
DATASET_CHECKS: tuple[Callable[[DatasetLoader], None], ...] = (
    the_splits_hold_every_class,
    images_differ,
    no_test_image_is_a_training_image,
    loading_twice_gives_the_same,
)
