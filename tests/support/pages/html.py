"""HTML as a browser would read it: its elements, its text, and its pictures with what stands below them."""

import base64
import html.parser
from dataclasses import dataclass, field

import numpy as np
import simplejpeg


@dataclass
class ShownFigure:
    """A figure: its decoded pictures, uint8 (H, W, 3) each, and its lines of text."""

    pictures: list = field(default_factory=list)
    lines: list = field(default_factory=list)


class ReadHtml(html.parser.HTMLParser):
    """What a piece of HTML holds."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.figures, self._texts = set(), set(), [], []
        self._within = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "figure":
            self.figures.append(ShownFigure())
        if tag == "img":
            kind, _, data = dict(attrs)["src"].partition(",")
            assert kind == "data:image/jpeg;base64"
            self.figures[-1].pictures.append(simplejpeg.decode_jpeg(base64.b64decode(data)))
        if tag not in {"img", "br", "meta"}:
            self._within.append(tag)

    def handle_endtag(self, tag):
        assert self._within.pop() == tag

    def handle_data(self, data):
        if "style" in self._within:
            return
        self._texts.append(data)
        if "figure" in self._within:
            self.figures[-1].lines.append(data)

    @property
    def text(self):
        """All text, without styles."""
        return " ".join(self._texts)

    def assert_safe(self):
        """No element or attribute that runs code or fetches something."""
        assert self.tags <= {
            *(
                "div",
                "style",
                "strong",
                "table",
                "tbody",
                "tr",
                "th",
                "td",
                "figure",
                "figcaption",
                "img",
                "br",
            ),
            *("p", "ul", "li", "bdi"),
        }
        assert self.attributes <= {"class", "scope", "src", "alt", "width", "height"}


def nearest_of(pictures, frames):
    """Of each decoded JPEG, the number of the frame (H, W, 3) that it is closest to; JPEG changes values a little."""
    errors = [[np.abs(picture.astype(int) - frame).mean() for frame in frames] for picture in pictures]
    assert np.min(errors, axis=1).max() < 20  # chroma has half the resolution
    return np.argmin(errors, axis=1).tolist()
