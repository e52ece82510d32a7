"""Repositories that the tests share: opening and applying one takes Feast a second."""

import pytest

from tests.components.feature_store.repositories import Users, make_users, some_history


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> Users:
    """The guide's repository, applied, with :func:`some_history`; for reading only."""
    return make_users(tmp_path_factory.mktemp("users"), some_history())
