"""The database that a thread keeps from one shard to the next: what stays, what does not, and when it is given up."""

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from data_quality.sql import small_database

MEMORY = "SELECT current_setting('memory_limit'), current_setting('threads')"
MARK = "CREATE TABLE mark AS SELECT 1"  # no temporary one: it is there as long as the database is


def in_a_new_thread(function):
    """Where no database has been opened yet."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def is_marked(connection):
    return bool(connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'mark'").fetchall())


def test_the_next_shard_has_the_same_database_without_its_temporary_tables(tmp_path):
    def two_shards():
        with small_database(tmp_path / "one") as connection:
            connection.execute(MARK)
            connection.execute("CREATE TEMP TABLE own AS SELECT 1")
            limits = connection.execute(MEMORY).fetchall()
        with small_database(tmp_path / "two") as connection:
            own = connection.execute("SELECT * FROM duckdb_tables() WHERE table_name = 'own'").fetchall()
            spill = connection.execute("SELECT current_setting('temp_directory')").fetchall()
            return is_marked(connection), own, spill, limits

    assert in_a_new_thread(two_shards) == (True, [], [(str(tmp_path / "two"),)], [("953.6 MiB", 1)])


def test_two_open_at_once_are_two_databases(tmp_path):
    def one_in_the_other():
        with small_database(tmp_path) as outer:
            outer.execute(MARK)
            with small_database(tmp_path) as inner:
                return is_marked(inner)

    assert in_a_new_thread(one_in_the_other) is False


def test_a_database_that_an_error_left_is_not_used_again(tmp_path):
    def after_an_error():
        def fail():
            with small_database(tmp_path) as connection:
                connection.execute(MARK)
                connection.execute("FROM nowhere")

        with pytest.raises(duckdb.Error, match="nowhere"):
            fail()
        with small_database(tmp_path) as connection:
            return is_marked(connection)

    assert in_a_new_thread(after_an_error) is False


def test_a_database_that_has_spilled_is_not_used_again(tmp_path):
    def after_spilling():
        with small_database(tmp_path / "spill") as connection:
            connection.execute(MARK)
            connection.execute("SET memory_limit = '30MB'")
            sort = "SELECT count(*) FROM (SELECT md5(i::VARCHAR) AS a FROM range(1000000) t(i) ORDER BY a LIMIT 900000)"
            assert connection.execute(sort).fetchall() == [(900_000,)]
            assert (tmp_path / "spill").exists()
        with small_database(tmp_path / "other") as connection:
            return is_marked(connection)

    assert in_a_new_thread(after_spilling) is False
