"""Fails unless the installed DeformableConv2D is correct and uses the expected implementation.

    python .ci/check_deformable.py portable
    python .ci/check_deformable.py native

"portable": there is no compiler, and exactly one warning reports it. "native": compiled code is
used, without a warning.
"""

from __future__ import annotations

import shutil
import sys
import warnings

import numpy as np

expected = sys.argv[1]
compilers = [name for name in ("g++", "clang++", "c++", "gcc", "cc") if shutil.which(name)]
if expected == "portable" and compilers:
    sys.exit(f"there is a compiler: {', '.join(compilers)}")

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import keras
    from keras import ops

    from keras_facealign.layers import DeformableConv2D
    from keras_facealign.ops import native

    backend = keras.backend.backend()
    available = native.available(backend)
    # Interpolation reproduces a ramp; past the last pixel the value stays and the weight decreases.
    rows, columns = np.mgrid[:6, :5].astype("float32")
    image = (10 * rows + columns)[None, :, :, None]
    offsets = np.tile(np.float32([0.5, 0.25]), (1, 6, 5, 1))
    ramp = 10 * np.minimum(rows + 0.5, 5) + np.minimum(columns + 0.25, 4)
    fade = np.where(rows < 5, 1, 0.5) * np.where(columns < 4, 1, 0.75)
    displaced = DeformableConv2D(1, 1, kernel_initializer="ones")([image, offsets])
    displaced = ops.convert_to_numpy(displaced)[0, :, :, 0]

    # A layer that predicts its offsets starts as an ordinary convolution, and learns.
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(8, 8, 8, 3)).astype("float32")
    layer = DeformableConv2D(2, 3)
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    before = model.predict(inputs, verbose=0)
    ordinary = ops.conv(inputs, layer.kernel, padding="same", data_format="channels_last")
    model.compile("adam", "mse")
    losses = model.fit(inputs, np.roll(before, 1, 2), epochs=5, verbose=0).history["loss"]

np.testing.assert_allclose(displaced, ramp * fade, rtol=1e-6)
np.testing.assert_allclose(before, ops.convert_to_numpy(ordinary), atol=1e-5)
if not losses[-1] < losses[0]:
    sys.exit(f"training does not lower the loss: {losses}")
if available != (expected == "native"):
    sys.exit(f"native code is {'' if available else 'not '}available")
messages = [str(w.message) for w in caught if "portable implementation" in str(w.message)]
if len(messages) != (expected == "portable"):
    sys.exit(f"{len(messages)} warnings about the implementation: {messages}")
if messages and "no C++ compiler was found" not in messages[0]:
    sys.exit(f"the warning does not name the reason: {messages[0]}")
print(
    f"{backend}, {expected}: correct, loss {losses[0]:.4f} to {losses[-1]:.4f}", *messages, sep="\n"
)
