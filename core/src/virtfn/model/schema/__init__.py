"""What follows from the models of the API without anybody writing it: CustomResourceDefinitions and their reference."""

from virtfn.model.schema.definitions import crd_file_name, crd_yaml, custom_resource_definition
from virtfn.model.schema.reference import reference_markdown
from virtfn.model.schema.rules import RULES, CelRule
from virtfn.model.schema.structural import openapi_schema

__all__ = [
    "RULES",
    "CelRule",
    "crd_file_name",
    "crd_yaml",
    "custom_resource_definition",
    "openapi_schema",
    "reference_markdown",
]
