"""The workbook in which an investment case is filled in: template, reading and writing, in Vietnamese or English.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     case = example_case("vi")
...     write_case_workbook(case, Path(folder, "case.xlsx"), lang="vi")
...     read_case_workbook(Path(folder, "case.xlsx")) == case
True
"""

from cxroi.case.workbook.examples import example_case
from cxroi.case.workbook.reading import WorkbookReading, read_case_workbook, read_workbook
from cxroi.case.workbook.template import write_case_workbook, write_template

__all__ = [
    "WorkbookReading",
    "example_case",
    "read_case_workbook",
    "read_workbook",
    "write_case_workbook",
    "write_template",
]
