"""Takes the contract as it is now for the one that was agreed on: `python -m tests.api.snapshot`."""

import json

from api.main import make_document
from api.reference import PAGE, make_offline_settings, make_page
from tests.api.test_openapi import SNAPSHOT, strip

if __name__ == "__main__":
    document = make_document(make_offline_settings())
    SNAPSHOT.write_text(json.dumps(strip(document), indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    PAGE.write_text(make_page(document))
