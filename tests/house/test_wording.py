"""Numbers of things go through `counted`, so that nobody reads of 1 frames."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NOUN = re.compile(
    r" (?:(?!of |are |off )\w+ )?"
    r"(frames|videos|shards|ranks|clips|batches|windows|images|workers|positions|files|packets|gaps|changes|problems|differences|errors|spans|values|others)\b(?!/)"
)
NEVER_ONE = {
    # What stands before the noun is no count of it.
    "cache_builder/gpu/probe.py": {"facts.pixel_format"},
    "cache_builder/gpu/device_frames.py": {"samples"},
    # More than the limit, which is large.
    "cache_builder/video/opening/limits.py": {"num_frames"},
    # A limit, which is large.
    "loader/windows/spec.py": {"MAX_NUM_OFFSETS", "MAX_OFFSET"},
    # A share of others: "1 of its transport packets".
    "cache_builder/video/opening/encryption.py": {"num_packets"},
    # A visit of one frame, and a short batch of one, are spoken of elsewhere or cannot be.
    "loader/sampling/plan.py": {"visit"},
    "loader/bias/distributions/last_batch.py": {"batch_size"},
    # A mean.
    "loader/bias/design_effect.py": {"shard_size"},
    # What stands before the noun is no count of it.
    "loader/gpu/device.py": {"encoding"},
    "loader/lookahead/checks.py": {"lookahead"},
}


def uncounted(source):
    """Values in f-strings that a plural noun follows."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                is_value = isinstance(value, ast.FormattedValue)
                if is_value and isinstance(text, ast.Constant) and NOUN.match(text.value):
                    expression = ast.unparse(value.value)
                    if not expression.startswith("counted"):
                        yield expression


@pytest.mark.parametrize("package", ["cache_builder", "frame_store", "loader"])
def test_every_count_of_things_in_a_message_is_counted(package):
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        name = path.relative_to(REPOSITORY).as_posix()
        assert set(uncounted(path.read_text())) - NEVER_ONE.get(name, set()) == set(), name


def test_what_is_looked_for_is_found():
    assert [*uncounted('f"{n} frames"'), *uncounted('f"{len(x)} whole videos of"')] == ["n", "len(x)"]
    assert not [*uncounted("f\"{counted(n, 'shard holds', 'shards hold')} frames\"")]
    assert not [*uncounted('f"frame {n} of frames"')]
