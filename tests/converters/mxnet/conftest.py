"""What the tests of checkpoints share."""

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes bytes as a checkpoint's file."""

    def write(content, name="net-0000.params"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write
