"""Files and folders that are written completely or not at all, preset folders among them."""

from keras_facealign.storage.atomic import atomic_path, atomic_write
from keras_facealign.storage.json_files import read_json_object
from keras_facealign.storage.preset_folders import check_replaceable, replace_preset
from keras_facealign.storage.presets import find_preset, list_presets

__all__ = [
    "atomic_path",
    "atomic_write",
    "check_replaceable",
    "find_preset",
    "list_presets",
    "read_json_object",
    "replace_preset",
]
