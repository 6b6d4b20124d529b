"""Files and folders that are written whole or not at all, preset folders among them."""
