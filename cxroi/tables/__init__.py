"""The raw tables: opened, checked against the contract, and read in one vocabulary."""

from cxroi.tables.check import check_tables
from cxroi.tables.dataset import Dataset
from cxroi.tables.read import Input, Tables, read_tables
from cxroi.tables.violation import Violation

__all__ = ["Dataset", "Input", "Tables", "Violation", "check_tables", "read_tables"]
