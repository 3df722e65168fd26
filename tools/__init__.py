"""How the book is made, in scripts: `python -m tools.NAME`.

Whoever imports nbformat imports jsonschema, and that, where it is there, a grammar of international addresses, which
takes more than a second to build. No notebook holds such an address, so that here nobody does.
"""

import sys

GRAMMAR = "rfc3987_syntax"
sys.modules[GRAMMAR] = None
