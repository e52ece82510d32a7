"""What the API server takes."""

import re

#: A pipeline's name.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
#: Characters of a version's name.
MAX_VERSION_LENGTH = 127
#: Bytes of a file.
MAX_FILE_BYTES = 32 * 2**20
#: Tags of a pipeline or version, and characters of a tag's key or value.
MAX_TAGS, MAX_TAG_LENGTH = 20, 63
