"""TensorFlow's messages stay off the terminal unless requested."""

from __future__ import annotations

import importlib.util

import pytest

from tests.cli.processes import run_python


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
@pytest.mark.slow
def test_tensorflow_loads_in_silence_unless_asked_to_speak():
    code = (
        "from keras_facealign.cli.quiet import import_keras\n"
        "import_keras()\n"
        "import tensorflow as tf\n"
        "assert int(tf.zeros(3).shape[0]) == 3\n"
        "import sys, os; os.write(2, b'still here'); print(tf.__version__)\n"
    )
    quiet = run_python(code, TF_CPP_MIN_LOG_LEVEL="3")
    assert quiet.returncode == 0, quiet.stderr
    assert quiet.stderr == "still here"
    talkative = run_python(code, TF_CPP_MIN_LOG_LEVEL="0")
    assert talkative.returncode == 0, talkative.stderr
    assert talkative.stderr.endswith("still here")
    assert len(talkative.stderr) > len("still here")


def test_a_tensorflow_that_fails_to_load_says_why(tmp_path):
    broken = tmp_path / "tensorflow.py"
    broken.write_text("import os\nos.write(2, b'cannot open libcuda')\nraise ImportError('no')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from keras_facealign.cli.quiet import quiet_loading\n"
        "with quiet_loading():\n"
        "    import tensorflow\n"
    )
    run = run_python(code, TF_CPP_MIN_LOG_LEVEL="3")
    assert run.returncode == 1
    assert "cannot open libcuda" in run.stderr
    assert "ImportError: no" in run.stderr


def test_python_messages_are_shown_while_loading():
    code = (
        "import os, sys, warnings\n"
        "from keras_facealign.cli.quiet import quiet_loading\n"
        "with quiet_loading():\n"
        "    os.write(2, b'native')\n"
        "    warnings.warn('from Python')\n"
        "print('after', file=sys.stderr)\n"
    )
    run = run_python(code, TF_CPP_MIN_LOG_LEVEL="3")
    assert "from Python" in run.stderr and "after" in run.stderr
    assert "native" not in run.stderr
