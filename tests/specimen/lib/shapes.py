"""What the specimen's chapters import."""

TEXT = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
FACES = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
STYLE = dict.fromkeys(TEXT, "#808080") | dict.fromkeys(FACES, "none")


def parabola():
    return [(n / 10) ** 2 for n in range(-10, 11)]
