"""Small JSON files: objects are read, all else is refused with the file's name."""

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.json_files import read_json_object


def test_an_object_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"é": [1, 2.5, null]}', encoding="utf-8")
    assert read_json_object(tmp_path / "a.json") == {"é": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[1]", "must hold a JSON object"),
        (b"{", "cannot be read"),
        (b"\xff\xfe{}", "cannot be read"),
        (b"[" * 90, "larger than 80 bytes"),
        (b"[" * 70, "cannot be read"),
    ],
)
def test_other_files_are_refused(content, words, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FaceAlignError, match=rf"a\.json.*{words}"):
        read_json_object(path, max_bytes=80)
    with pytest.raises(FaceAlignError, match=r"none\.json: cannot be opened"):
        read_json_object(tmp_path / "none.json")
