"""The note at the top of a chapter: on how many images this page was built, with which networks, and how long the run
took whose numbers are recorded."""

from lib.data.dataset import Split
from lib.record import ledger

# What each chapter trains, attacks or looks at.
NETWORKS = {
    "formal_attack": "the six networks of Table 1",
    "how_near": "the six networks of Table 1 and a small one with rectifiers",
    "imagenet": "whichever of SqueezeNet, AlexNet's features and AlexNet it has",
    "quocnet": "QuocNet and its rivals",
    "cross_model": "the six networks of Table 1 and Conv",
    "cross_training_set": "the three networks of Table 3",
    "adversarial_training": "100-100-10, trained with pools and without",
    "spectral_analysis": "the six networks of Table 1, Conv, and public ones for photographs where there are any",
    "certificates": "the six networks of Table 1, Conv, and the three of Table 3",
    "units": "Conv, and public networks for photographs where there are any",
    "bases": "Conv, and public networks for photographs where there are any",
    "framework": "the six networks of Table 1, and other readings of four of them",
    "unsaid": "the six networks of Table 1, and four of them trained otherwise",
    "since_2013": "softmax 1e-4, 100-100-10 and 200-200-10",
}
DIGITS = "digits"
FEW_SECONDS = 100  # more are told in minutes


def banner(chapter: str, split: Split, num_train: int, profile: str, num_pictures: int | None = None) -> str:
    """MyST text for the top of a chapter; it warns where digits that should be MNIST's are not.

    num_pictures : how many are attacked for a network, at the most, in a chapter that is not about digits.
    It names no folder of the machine; `split.provenance`, for the terminal, does. Raises KeyError for a chapter that
    NETWORKS does not know.
    """
    images = f"at most {num_pictures} pictures to attack for a network" if num_pictures else _digits(split, num_train)
    said = f"Built in profile {profile} on {images}, with {NETWORKS[chapter]}. {recorded_run(chapter)}"
    if split.source != DIGITS or num_pictures:
        return f":::{{note}}\n{said}\n:::\n"
    return (
        ":::{admonition} Built on the embedded digits, not on MNIST\n:class: warning\n\n"
        f"{said} What it measures is not comparable with the paper's numbers, which are for MNIST.\n\n"
        "To build it on MNIST, put the four IDX files in a folder and run `make book DATA_DIR=folder`; "
        "where there is a network, `make book` downloads them.\n"
        ":::\n"
    )


def _digits(split: Split, num_train: int) -> str:
    of = f"{num_train:,} of {len(split.train):,}" if num_train < len(split.train) else f"all {num_train:,}"
    kind = "small handwritten digits" if split.source == DIGITS else "MNIST images"
    return f"{of} {kind} for training and {len(split.test):,} for testing"


def recorded_run(chapter: str) -> str:
    """How long the run took that recorded a chapter's numbers, as a sentence."""
    run = ledger.read("run.json").get(chapter)
    if run is None:
        return "No run of it is recorded yet."
    where = f"{run['machine']['cores']} cores" if run["device"] == "cpu" else "a GPU"
    ready = "networks and attacks that were ready beforehand not counted"
    return f"The recorded run took {_duration(run['seconds'])} on {where}, {ready}."


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < FEW_SECONDS else f"{seconds / 60:.0f} minutes"
