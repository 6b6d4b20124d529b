"""What setup.cfg cannot say: which folders are packages. All the rest is in setup.cfg."""

from setuptools import find_namespace_packages, setup

# Presets lie at the top of the repository, where people look for them, and are installed inside
# the package, where `from_preset` finds them.
PRESETS = "keras_facealign.saved_models"

code = find_namespace_packages(
    include=["keras_facealign", "keras_facealign.*", "tfds_builders", "tfds_builders.*"],
    exclude=["*.dummy_data", "*.dummy_data.*", "*.__pycache__"],
)
setup(packages=[*code, PRESETS], package_dir={PRESETS: "saved_models"})
