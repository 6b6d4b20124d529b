"""`python -m keras_facealign`, the same as the command `keras-facealign`."""

import sys

from keras_facealign.cli import main

if __name__ == "__main__":
    sys.exit(main())
