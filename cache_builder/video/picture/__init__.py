"""How a picture is shown: size, shape of pixels, orientation, colours, conversion to RGB."""
