"""What deploy/ holds, as the tests read it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml
from confluent_kafka.admin import AclOperation, ResourceType

DEPLOY = Path(__file__).parents[1] / "deploy"
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
KINDS = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def documents(name):
    """The YAML documents of a file."""
    return [*yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8"))]


def rights(user):
    """What the page of rights gives a user: (kind of resource, name, operation) in its order."""
    page = (DEPLOY / "kafka-acls.md").read_text(encoding="utf-8")
    found = []
    for line in re.findall(rf"^acl --allow-principal User:{user} (.*)$", page, re.MULTILINE):
        words = [*zip(*[iter(shlex.split(line))] * 2, strict=True)]
        operations = [OPERATIONS[word] for option, word in words if option == "--operation"]
        names = [(KINDS[option], word) for option, word in words if option in KINDS]
        found += [(kind, name, operation) for kind, name in names for operation in operations]
    return found
