"""What Streamlit runs for every visitor; see `ganforge.commands.app`, which starts it."""

import json
import sys

from ganforge.app import pages

pages.show(**json.loads(sys.argv[1]))
