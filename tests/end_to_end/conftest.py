"""The laptop that the end-to-end tests share."""

import pytest

from tests.end_to_end.laptop import Laptop


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    laptop = Laptop(tmp_path_factory.mktemp("laptop"))
    for table in ("churn", "diamonds", "flights"):
        laptop.demo(table)
    return laptop
