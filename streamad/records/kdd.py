"""The KDDCUP99 format: 41 fields and a label in fixed order, no header, the label with a trailing dot."""

from __future__ import annotations

import json
from typing import Final

KDD_FIELDS: Final = (
    "duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "land", "wrong_fragment",
    "urgent", "hot", "num_failed_logins", "logged_in", "num_compromised", "root_shell", "su_attempted",
    "num_root", "num_file_creations", "num_shells", "num_access_files", "num_outbound_cmds",
    "is_host_login", "is_guest_login", "count", "srv_count", "serror_rate", "srv_serror_rate",
    "rerror_rate", "srv_rerror_rate", "same_srv_rate", "diff_srv_rate", "srv_diff_host_rate",
    "dst_host_count", "dst_host_srv_count", "dst_host_same_srv_rate", "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate", "dst_host_serror_rate",
    "dst_host_srv_serror_rate", "dst_host_rerror_rate", "dst_host_srv_rerror_rate", "label",
)  # fmt: skip
"""The 42 column names in order, as the data set's own description gives them."""

KDD_CATEGORICAL: Final = ("protocol_type", "service", "flag")
KDD_BOOLEAN: Final = ("land", "logged_in", "root_shell", "is_host_login", "is_guest_login")
KDD_LABEL: Final = "label"


def kdd_object(line: bytes) -> bytes:
    """A line of the format as the JSON object that a service would send."""
    words = dict(zip(KDD_FIELDS, line.decode().rstrip().split(","), strict=True))
    texts = {*KDD_CATEGORICAL, KDD_LABEL}
    return json.dumps(
        {name: word if name in texts else json.loads(word) for name, word in words.items()}
    ).encode()
