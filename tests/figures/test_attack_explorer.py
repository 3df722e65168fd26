"""The element carries its digits, a still picture for readers without scripts, and asks for its own files alone."""

import base64
import json
import re
from html.parser import HTMLParser

import torch

from lib.figures import attack_explorer

torch.set_num_threads(1)


class Seen(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def seen(root: str = "../") -> Seen:
    digits = torch.linspace(0, 1, 3 * 784).view(3, 784)
    return Seen(attack_explorer.element(digits, [1, 0, 7], root, "still.png", 'nine "digits" & more'))


def test_the_digits_are_there_byte_for_byte():
    (root,) = seen().of("div")
    expected = (255 * torch.linspace(0, 1, 3 * 784)).round().to(torch.uint8)
    assert list(base64.b64decode(root["data-digits"])) == expected.tolist()
    assert root["data-labels"] == "107"


def test_without_scripts_there_is_a_picture_with_words():
    assert seen().of("img") == [{"src": "still.png", "alt": 'nine "digits" & more'}]


def test_scripts_and_networks_lie_in_the_book_wherever_the_page_is():
    for root in ("", "../"):
        found = seen(root)
        assert [script["src"] for script in found.of("script")] == [f"{root}live/engine.js", f"{root}live/page.js"]
        assert found.of("div")[0]["data-folder"] == f"{root}live/"
        assert all("defer" in script for script in found.of("script"))


def test_networks_are_a_script_that_says_what_the_json_says():
    text = json.dumps({"softmax 1": [{"rows": 1}]}) + "\n"
    (kept,) = re.fullmatch(r"globalThis\.LIVE_NETWORKS = (.*);\n", attack_explorer.script(text)).groups()
    assert json.loads(kept) == json.loads(text)
