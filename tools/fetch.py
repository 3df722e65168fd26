"""Downloads what the chapters on ImageNet work with, about 600 MB, into the cache: `make pictures`.

What DATA_DIR or the cache already holds is not downloaded. Prints one line per file.
"""

from lib.data import downloads, photographs
from lib.data.downloads import DataError
from lib.networks import imagenet

FILES = (imagenet.SQUEEZENET, imagenet.ALEXNET, photographs.IMAGENET_SAMPLE, photographs.TINY_IMAGENET)


def main() -> None:
    failed = []
    for file in FILES:
        try:
            print(downloads.obtain(file), flush=True)
        except DataError as error:
            failed.append(str(error))
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
